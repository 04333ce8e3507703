%% @doc What a scheduler sees of snapshots that are taken beside it: processes that do
%% nothing but call a traced function and read the clock, each on a scheduler of its own,
%% and the gaps between two readings. Phases in turn: recorded while snapshots are taken
%% back to back, asked for from a scheduler that does nothing else; untraced; recorded;
%% on a tmpfs snapshots again, `cold'. Before `snapshots' as much memory is used and freed
%% as the copies will take: of a host that takes free memory back from a virtual machine,
%% each new page costs 100 to 300 us in which a processor stands still, whoever it is that
%% writes there. `cold' shows these too.
%%
%% A gap costs the probe no memory that stays, but for those over 100 us: its own collections
%% would be gaps.
%%
%% Of each gap the system is asked what it was: the thread waited for a processor, and
%% for how much of that time who copies ran, or other threads of ours (the keeper, the
%% scheduler that asks, dirty ones); it had page faults; it slept, as for a lock; or it was on its
%% processor all the time, as far as the system knows (an interrupt, a hypervisor).
%%
%% The command line: `-s bench_stalls main -extra DIRECTORY BUSY ROUNDS MS warm|plain OUT'; see
%% `benches/stalls'.
-module(bench_stalls).

-export([main/0]).

%% Gaps shorter than this are not looked at, longer ones counted.
-define(SEEN_NS, 20_000).
%% A gap is held against what the system said so long before it, at most.
-define(BASE_NS, 100_000).
%% Written and freed before `snapshots'.
-define(WARM_MIB, 800).
%% Places of a probe's counts of gaps, by how long who copies ran in them, in us.
-define(COUNTED_US, 10_000).

main() ->
    [Dir, Busy, Rounds, Ms, Warm, Out] = init:get_plain_arguments(),
    {ok, _} = application:ensure_all_started(spoor),
    {module, _} = code:ensure_loaded(bench_empty_tracer),
    Limits = #{dir => Dir, time => infinity, max_events => infinity, link => false},
    {ok, Session} = spoor:start([bench_stalls_work], Limits),
    Setting = #{session => Session, busy => list_to_integer(Busy), ms => list_to_integer(Ms), dir => Dir},
    Kinds = [snapshots, untraced, recorded] ++ [cold || Warm =:= "warm"],
    %% The first round is for the VM to find its memory, and makes the thread that copies.
    _ = [phase(Kind, Setting) || Kind <- Kinds],
    Seen = [{Kind, phase(Kind, Setting)} || _ <- lists:seq(1, list_to_integer(Rounds)), Kind <- Kinds],
    {ok, _} = spoor:stop(Session),
    Shown = [untraced, recorded, snapshots] ++ [cold || lists:member(cold, Kinds)],
    Rows = [{Kind, row([Phase || {K, Phase} <- Seen, K =:= Kind])} || Kind <- Shown],
    say("OTP ~s, ~s busy on ~b processors, ~s rounds of ~s ms each; a second of a scheduler:", [
        otp(), Busy, erlang:system_info(logical_processors_available), Rounds, Ms
    ]),
    [say("~-34s ~s", [Name, [io_lib:format("~12s", [text(maps:get(Key, Row))]) || {_, Row} <- Rows]]) || {Key, Name} <- columns()],
    copies(lists:append([C || {_, #{copies := C}} <- Seen])),
    Lines = [
        [lists:join($\t, ["stalls", Busy, atom_to_list(Kind), atom_to_list(Key), text(maps:get(Key, Row))]), $\n]
     || {Kind, Row} <- Rows, {Key, _} <- columns()
    ],
    ok = file:write_file(Out, Lines),
    halt(0).

otp() -> erlang:system_info(otp_release).

columns() ->
    [
        {name, ""}, {over_100, "gaps over 100 us"}, {copying, " waited, who copies ran over 100 us"},
        {ours, " waited, it or others of ours did"}, {others, " waited for others"},
        {faults, " page faults"}, {slept, " slept (a lock, the disk)"}, {on_processor, " none of these"},
        {over_1000, "gaps over 1 ms"}, {longest, "longest gap, us"}, {copying_longest, "longest that who copies ran in one, us"},
        {copying_p999, " its 99.9 %, us"}, {ours_longest, "longest that ours ran in one, us"}, {waited, "waited for a processor, %"}, {blocked, "slept, %"},
        {taken, "processor taken"}, {given, "processor given up"}, {minor, "minor page faults"}, {major, "major page faults"},
        {copier, "the copying thread ran, %"}, {calls, "million calls"}
    ].

text(Name) when is_atom(Name) -> atom_to_list(Name);
text(N) when is_integer(N) -> integer_to_list(N);
text(N) -> float_to_list(N, [{decimals, 2}]).

%% Rates are medians of the phases': one in which somebody else was busy counts as one.
row(Phases) ->
    Long = lists:append([G || #{gaps := G} <- Phases]),
    Rate = fun(Is) -> median([length(lists:filter(Is, Gaps)) / S || #{gaps := Gaps, seconds := S} <- Phases]) end,
    Each = fun(Key) -> median([N / S || #{Key := N, seconds := S} <- Phases]) end,
    Copying = counted([C || #{counts := C} <- Phases]),
    Kinds = [copying, ours, others, faults, slept, on_processor],
    maps:merge(
        maps:from_list([{Kind, Rate(fun(Gap) -> kind(Gap) =:= Kind end)} || Kind <- Kinds]),
        #{
            name => maps:get(kind, hd(Phases)),
            over_100 => Rate(fun(_) -> true end),
            over_1000 => Rate(fun({Ns, _}) -> Ns > 1_000_000 end),
            longest => lists:max([0 | [Ns || {Ns, _} <- Long]]) div 1_000,
            copying_longest => lists:max([0 | [copying(Gap) || Gap <- Long]]) div 1_000,
            copying_p999 => quantile(Copying, 0.999),
            ours_longest => lists:max([0 | [ours(Gap) || Gap <- Long]]) div 1_000,
            waited => Each(waited) / 1.0e7,
            blocked => Each(blocked) / 1.0e7,
            taken => Each(taken),
            given => Each(given),
            minor => Each(minor),
            major => Each(major),
            copier => Each(copier) / 1.0e7,
            calls => Each(calls) / 1.0e6
        }
    ).

median(Numbers) ->
    {Lower, Upper} = lists:split(length(Numbers) div 2, lists:sort(Numbers)),
    case length(Numbers) rem 2 of
        1 -> hd(Upper);
        0 -> (lists:last(Lower) + hd(Upper)) / 2
    end.

%% What a gap was, of those that come first.
kind({_, {_, _, Major, _, _, _, _}}) when Major > 0 -> faults;
kind({Ns, {Waited, _, _, _, _, _, _}} = Gap) when 2 * Waited >= Ns ->
    case {copying(Gap) > 100_000, ours(Gap) > 100_000} of
        {true, _} -> copying;
        {false, true} -> ours;
        {false, false} -> others
    end;
kind({_, {_, _, _, Given, _, _, _}}) when Given > 0 -> slept;
kind({_, {_, Minor, _, _, _, _, _}}) when Minor > 0 -> faults;
kind(_) -> on_processor.

%% So long at most the thread waited for the one that copies, and for any of ours.
copying({_, {Waited, _, _, _, _, Ran, _}}) -> min(Waited, Ran).
ours({_, {Waited, _, _, _, _, Ran, Others}}) -> min(Waited, Ran + Others).

%% The gaps of all probes, {Microseconds that who copies ran, how many}, shortest first.
counted(Counts) ->
    Add = fun(Us, N, All) -> maps:update_with(Us, fun(Old) -> Old + N end, N, All) end,
    lists:sort(maps:to_list(lists:foldl(fun(Of, All) -> maps:fold(Add, All, Of) end, #{}, lists:append(Counts)))).

quantile([], _) -> 0;
quantile(Counted, Share) -> quantile(Counted, Share * lists:sum([N || {_, N} <- Counted]), 0).

quantile([{Us, _}], _, _) -> Us;
quantile([{Us, N} | Rest], Rank, Before) ->
    case Before + N >= Rank of
        true -> Us;
        false -> quantile(Rest, Rank, Before + N)
    end.

copies(Copies) ->
    Took = lists:sort([T || #{took := T} <- Copies]),
    Sum = fun(Key) -> lists:sum([N || #{Key := N} <- Copies]) end,
    say("~b snapshots of ~b MB, ~b ms each (median), ~b chunks in them, ~b overwritten meanwhile", [
        length(Copies), Sum(bytes) div max(1, length(Copies)) div 1_000_000, lists:nth(max(1, length(Took) div 2), Took ++ [0]) div 1_000,
        Sum(chunks), Sum(overtaken)
    ]).

phase(Kind, #{session := Session, busy := Busy, ms := Ms, dir := Dir}) ->
    ok = warm(Kind, filename:join(Dir, "warm")),
    Over = atomics:new(1, []),
    Probed = lists:append([sched_names(N) || N <- lists:seq(1, Busy)]),
    Before = threads(),
    Found = lists:sort([{not is_copier(Name), list_to_integer(Tid)} || {Tid, {Name, _, _}} <- maps:to_list(Before), is_ours(Name, Busy)]),
    Ours = [Tid || {_, Tid} <- Found],
    Probes = [spawn_probe(N, Kind, Over, Ours) || N <- lists:seq(1, Busy)],
    Began = erlang:monotonic_time(),
    Copier = [spawn_copier(Busy + 1, Session, Over) || Kind =:= snapshots orelse Kind =:= cold],
    timer:sleep(Ms),
    atomics:put(Over, 1, 1),
    Seen = [receive {Probe, Facts} -> Facts end || Probe <- Probes],
    Ended = erlang:monotonic_time(),
    After = threads(),
    Copies = [receive {Asker, Made} -> Made end || Asker <- Copier],
    %% To free the pages of a large file takes a processor for milliseconds.
    [ok = file:delete(Path) || #{path := Path} <- lists:append(Copies)],
    {Ran, Waited} = {change(Probed, 2, Before, After), change(Probed, 3, Before, After)},
    Used = fun(Place) -> lists:sum([element(Place, Usage) || {_, _, _, Usage} <- Seen]) end,
    #{
        kind => Kind,
        seconds => Busy * Ms / 1_000,
        gaps => lists:append([Gaps || {Gaps, _, _, _} <- Seen]),
        counts => [Counts || {_, Counts, _, _} <- Seen],
        calls => lists:sum([Calls || {_, _, Calls, _} <- Seen]),
        waited => Waited,
        blocked => max(0, Busy * (Ended - Began) - Ran - Waited),
        minor => Used(2), major => Used(3), given => Used(4), taken => Used(5),
        copier => Busy * change([<<"spoor_copy">>], 2, Before, After),
        copies => lists:append(Copies)
    }.

warm(snapshots, Path) ->
    {ok, File} = file:open(Path, [write, raw]),
    Part = binary:copy(<<1>>, 1 bsl 20),
    lists:foreach(fun(_) -> ok = file:write(File, Part) end, lists:seq(1, ?WARM_MIB)),
    ok = file:close(File),
    file:delete(Path);
warm(_, _) ->
    ok.

%% Names as the VM gives them, before and from OTP 26 on.
sched_names(N) ->
    [iolist_to_binary(io_lib:format(Format, [N])) || Format <- ["erts_sched_~b", "~b_scheduler"]].

is_copier(Name) -> Name =:= <<"spoor_copy">>.

is_ours(<<"spoor", _/binary>>, _) -> true;
is_ours(<<"erts_d", _/binary>>, _) -> true;
is_ours(Name, Busy) -> binary:match(Name, <<"_dirty_">>) =/= nomatch orelse lists:member(Name, sched_names(Busy + 1)).

%% How much a number of the threads so called has grown.
change(Names, Place, Before, After) ->
    Old = fun(Tid) -> element(Place, maps:get(Tid, Before, {none, 0, 0})) end,
    lists:sum([element(Place, Facts) - Old(Tid) || {Tid, Facts} <- maps:to_list(After), lists:member(element(1, Facts), Names)]).

%% Nanoseconds that each thread ran and waited for a processor.
threads() ->
    {ok, Tids} = file:list_dir("/proc/self/task"),
    maps:from_list([{Tid, Facts} || Tid <- Tids, Facts <- thread("/proc/self/task/" ++ Tid)]).

thread(Dir) ->
    case {file:read_file(Dir ++ "/comm"), file:read_file(Dir ++ "/schedstat")} of
        {{ok, Name}, {ok, Stat}} ->
            [Run, Wait | _] = [binary_to_integer(N) || N <- string:lexemes(Stat, " \n")],
            [{string:trim(Name), Run, Wait}];
        _Gone ->
            []
    end.

spawn_copier(Scheduler, Session, Over) ->
    Parent = self(),
    spawn_opt(fun() -> Parent ! {self(), copies(Session, Over, [])} end, [link, {scheduler, Scheduler}]).

copies(Session, Over, Made) ->
    case atomics:get(Over, 1) of
        0 ->
            {Took, {ok, Copy}} = timer:tc(fun() -> spoor:snapshot(Session, #{}) end),
            copies(Session, Over, [Copy#{took => Took} | Made]);
        1 ->
            Made
    end.

spawn_probe(Scheduler, Kind, Over, Ours) ->
    Parent = self(),
    Probe = fun() ->
        Counts = atomics:new(?COUNTED_US, []),
        Usage = bench_empty_tracer:thread_usage(Ours),
        Now = now_ns(),
        {Gaps, Calls} = probe(work(Kind), Over, {Ours, Counts}, {Usage, Now}, Now, [], 0),
        Used = minus(bench_empty_tracer:thread_usage(Ours), Usage),
        Parent ! {self(), {Gaps, found(Counts), Calls, Used}}
    end,
    spawn_opt(Probe, [link, {scheduler, Scheduler}, {min_heap_size, 100_000}]).

work(untraced) -> fun bench_stalls_idle:call/1;
work(_) -> fun bench_stalls_work:call/1.

now_ns() -> erlang:monotonic_time(nanosecond).

found(Counts) ->
    maps:from_list([{Us, N} || Us <- lists:seq(1, ?COUNTED_US), N <- [atomics:get(Counts, Us)], N > 0]).

probe(Work, Over, {Ours, Counts} = For, {Base, BaseAt} = Known, Last, Gaps, Calls) ->
    _ = Work(Calls),
    Now = now_ns(),
    if
        Now - Last >= ?SEEN_NS; Now - BaseAt >= ?BASE_NS ->
            Usage = bench_empty_tracer:thread_usage(Ours),
            Gap = {Now - Last, minus(Usage, Base)},
            _ = [atomics:add(Counts, min(?COUNTED_US, 1 + copying(Gap) div 1_000), 1) || Now - Last >= ?SEEN_NS],
            Seen = [Gap || Now - Last > 100_000] ++ Gaps,
            case atomics:get(Over, 1) of
                0 -> Again = now_ns(), probe(Work, Over, For, {Usage, Again}, Again, Seen, Calls + 1);
                1 -> {Seen, Calls}
            end;
        true ->
            probe(Work, Over, For, Known, Now, Gaps, Calls + 1)
    end.

minus({A1, A2, A3, A4, A5, A6, A7}, {B1, B2, B3, B4, B5, B6, B7}) ->
    {A1 - B1, A2 - B2, A3 - B3, A4 - B4, A5 - B5, A6 - B6, A7 - B7}.

say(Format, Values) -> io:format(Format ++ "~n", Values).
