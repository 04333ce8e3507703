%% @doc What a scheduler sees of snapshots that are taken beside it: processes that do
%% nothing but call a traced function and read the clock, each on a scheduler of its own,
%% and the gaps between two readings. Phases in turn: untraced; recorded; recorded while
%% snapshots are taken back to back, asked for from a scheduler that does nothing else.
%% What the system's scheduler says of the threads tells a wait for a processor apart
%% from all else.
%%
%% The command line: `-s bench_stalls main -extra DIRECTORY BUSY ROUNDS MS'; see
%% `benches/stalls'.
-module(bench_stalls).

-export([main/0]).

-define(LIMITS_US, [20, 50, 100, 200, 500, 1_000, 4_000, 10_000]).

main() ->
    [Dir, Busy, Rounds, Ms] = init:get_plain_arguments(),
    {ok, _} = application:ensure_all_started(spoor),
    Limits = #{dir => Dir, time => infinity, max_events => infinity, link => false},
    {ok, Session} = spoor:start([bench_stalls_work], Limits),
    Setting = #{session => Session, busy => list_to_integer(Busy), ms => list_to_integer(Ms)},
    Kinds = [untraced, recorded, snapshots],
    %% The first round is for the VM to find its memory.
    _ = [phase(Kind, Setting) || Kind <- Kinds],
    Seen = [{Kind, phase(Kind, Setting)} || _ <- lists:seq(1, list_to_integer(Rounds)), Kind <- Kinds],
    {ok, _} = spoor:stop(Session),
    say("OTP ~s, ~s busy, ~s rounds of ~s ms each; gaps a second longer than", [erlang:system_info(otp_release), Busy, Rounds, Ms]),
    say("~-10s ~s ~9s ~8s ~9s ~9s", ["", [io_lib:format("~8s", [unit(L)]) || L <- ?LIMITS_US], "longest", "waited", "copier", "M calls/s"]),
    [row(Kind, [Phase || {K, Phase} <- Seen, K =:= Kind]) || Kind <- Kinds],
    Copies = lists:append([C || {snapshots, #{copies := C}} <- Seen]),
    Took = lists:sort([T || #{took := T} <- Copies]),
    Sum = fun(Key) -> lists:sum([N || #{Key := N} <- Copies]) end,
    say("~b snapshots of ~b MB, ~b ms each (median), ~b chunks in them, ~b overwritten meanwhile", [
        length(Copies), Sum(bytes) div max(1, length(Copies)) div 1_000_000, lists:nth(max(1, length(Took) div 2), Took) div 1_000,
        Sum(chunks), Sum(overtaken)
    ]),
    halt(0).

unit(Us) when Us >= 1_000 -> [integer_to_list(Us div 1_000), " ms"];
unit(Us) -> [integer_to_list(Us), " us"].

row(Kind, Phases) ->
    Seconds = lists:sum([S || #{seconds := S} <- Phases]),
    Sum = fun(Key) -> lists:sum([N || #{Key := N} <- Phases]) end,
    Over = [lists:sum(Each) / Seconds || Each <- transposed([O || #{over := O} <- Phases])],
    say("~-10s ~s ~6b us ~5.2f % ~7.2f % ~9.2f", [
        Kind, [io_lib:format("~8.2f", [N]) || N <- Over], lists:max([M || #{longest := M} <- Phases]) div 1_000,
        100 * Sum(waited) / Seconds / 1.0e9, 100 * Sum(copier) / Seconds / 1.0e9, Sum(calls) / Seconds / 1.0e6
    ]).

transposed([[] | _]) -> [];
transposed(Rows) -> [[hd(Row) || Row <- Rows] | transposed([tl(Row) || Row <- Rows])].

phase(Kind, #{session := Session, busy := Busy, ms := Ms}) ->
    Over = atomics:new(1, []),
    Probes = [spawn_probe(N, Kind, Over) || N <- lists:seq(1, Busy)],
    Before = threads(),
    Copier = [spawn_copier(Busy + 1, Session, Over) || Kind =:= snapshots],
    timer:sleep(Ms),
    After = threads(),
    atomics:put(Over, 1, 1),
    Gaps = [receive {Probe, Facts} -> Facts end || Probe <- Probes],
    Copies = [receive {Asker, Made} -> Made end || Asker <- Copier],
    %% To free the pages of a large file takes a processor for milliseconds.
    [ok = file:delete(Path) || #{path := Path} <- lists:append(Copies)],
    %% The threads that the probes are on; names as the VM gives them.
    Waited = lists:sum([change(sched_name(N), 3, Before, After) || N <- lists:seq(1, Busy)]),
    #{
        seconds => Busy * Ms / 1_000,
        over => [lists:sum(Each) || Each <- transposed([tuple_to_list(O) || {O, _, _} <- Gaps])],
        longest => lists:max([Longest || {_, Longest, _} <- Gaps]),
        calls => lists:sum([Calls || {_, _, Calls} <- Gaps]),
        waited => Waited,
        copier => Busy * change(<<"spoor_copy">>, 2, Before, After),
        copies => lists:append(Copies)
    }.

sched_name(N) ->
    Names = [iolist_to_binary(io_lib:format(Format, [N])) || Format <- ["erts_sched_~b", "~b_scheduler"]],
    fun(Name) -> lists:member(Name, Names) end.

%% How much a number of the threads so called has grown.
change(Name, Place, Before, After) when is_binary(Name) ->
    change(fun(Other) -> Other =:= Name end, Place, Before, After);
change(IsIt, Place, Before, After) ->
    Old = fun(Tid) -> element(Place, maps:get(Tid, Before, {none, 0, 0})) end,
    lists:sum([element(Place, Facts) - Old(Tid) || {Tid, Facts} <- maps:to_list(After), IsIt(element(1, Facts))]).

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

spawn_probe(Scheduler, Kind, Over) ->
    Parent = self(),
    Probe = fun() ->
        None = list_to_tuple([0 || _ <- ?LIMITS_US]),
        Parent ! {self(), probe(work(Kind), Over, erlang:monotonic_time(), None, 0, 0)}
    end,
    spawn_opt(Probe, [link, {scheduler, Scheduler}]).

work(untraced) -> fun bench_stalls_idle:call/1;
work(_) -> fun bench_stalls_work:call/1.

probe(Work, Over, Last, Gaps, Longest, Calls) ->
    _ = Work(Calls),
    Now = erlang:monotonic_time(),
    Gap = Now - Last,
    if
        Gap < 20_000 -> probe_on(Work, Over, Now, Gaps, max(Gap, Longest), Calls + 1);
        true -> probe_on(Work, Over, erlang:monotonic_time(), counted(Gap, Gaps), max(Gap, Longest), Calls + 1)
    end.

probe_on(Work, Over, Now, Gaps, Longest, Calls) ->
    case atomics:get(Over, 1) of
        0 -> probe(Work, Over, Now, Gaps, Longest, Calls);
        1 -> {Gaps, Longest, Calls}
    end.

counted(Gap, Gaps) ->
    list_to_tuple([if Gap > Limit * 1_000 -> N + 1; true -> N end || {Limit, N} <- lists:zip(?LIMITS_US, tuple_to_list(Gaps))]).

say(Format, Values) -> io:format(Format ++ "~n", Values).
