%% @doc Where events go, and which of them stay: `once' and `stream', from Erlang
%% to what `spoor' reads.
-module(spoor_storage_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    once_keeps_the_first/1, a_stream_reads_as_one_recording/1, a_packed_stream_reads_the_same/1,
    at_the_cap_the_oldest_goes/1, options_that_exclude_each_other/1, a_snapshot_of_a_stream_is_a_file/1,
    what_comes_after_the_call_is_in_the_copy/1, what_ends_before_the_copy_has_none/1,
    nothing_committed_is_lost_at_sigkill/1
]).
-export([tick/1, victim/0]).

all() ->
    [
        once_keeps_the_first, a_stream_reads_as_one_recording, a_packed_stream_reads_the_same,
        at_the_cap_the_oldest_goes, options_that_exclude_each_other, a_snapshot_of_a_stream_is_a_file,
        what_comes_after_the_call_is_in_the_copy, what_ends_before_the_copy_has_none,
        nothing_committed_is_lost_at_sigkill
    ].

init_per_testcase(Case, Config) ->
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    ok.

%%% Cases

once_keeps_the_first(Config) ->
    {ok, Session} = start(#{once => <<"2MiB">>}, Config),
    work(1_000_000),
    {ok, Summary} = spoor:stop(Session),
    #{path := Path, stop_reason := <<"full">>, overwritten := 0, events := Events, mode := once} = Summary,
    ?assertEqual(Events, events(Path)),
    ?assertMatch(#{<<"mode">> := <<"once">>, <<"ring_turned">> := false}, spoor_reading:json("info", [Path])).

a_stream_reads_as_one_recording(Config) ->
    stream_reads_as_one(#{stream => <<"128MiB">>, segment => <<"2MiB">>}, 0, Config).

a_packed_stream_reads_the_same(Config) ->
    stream_reads_as_one(#{stream => <<"128MiB">>, segment => <<"2MiB">>, compress => lz4}, all, Config).

%% Counts are those of the calls that were made, across many segments.
stream_reads_as_one(Options, Packed, Config) ->
    {ok, Session} = start(Options, Config),
    paced(200, 10_000),
    {ok, #{path := Path, events := Events, overwritten := 0, dropped := Dropped}} = spoor:stop(Session),
    Lost = lists:sum(maps:values(Dropped)),
    ?assert(filelib:is_dir(Path)),
    Info = spoor_reading:json("info", [Path]),
    #{<<"mode">> := <<"stream">>, <<"segments">> := Segments, <<"findings">> := Findings} = Info,
    #{<<"first">> := 1, <<"last">> := Last, <<"count">> := Last, <<"packed">> := IsPacked} = Segments,
    ?assertEqual([], Findings),
    ?assert(Last > 4),
    ?assertEqual({Packed, IsPacked}, case Packed of all -> {all, Last}; 0 -> {0, 0} end),
    ?assertEqual(Events, events(Path)),
    Calls = proplists:get_value({?MODULE, tick, 1}, spoor_reading:counts(Path)),
    ?assertEqual(2_000_000, Calls + (Lost + 1) div 2).

at_the_cap_the_oldest_goes(Config) ->
    {ok, Session} = start(#{stream => <<"12MiB">>, segment => <<"1MiB">>}, Config),
    paced(200, 10_000),
    {ok, #{path := Path, events := Events, overwritten := Overwritten}} = spoor:stop(Session),
    ?assert(Overwritten > 0),
    ?assert(bytes(Path) =< 12 * 1024 * 1024),
    ?assertEqual(Events - Overwritten, events(Path)).

options_that_exclude_each_other(Config) ->
    [?assertMatch({error, {bad_option, _}}, start(Options, Config)) || Options <- [
        #{ring => 1_000_000, once => true}, #{once => true, stream => true},
        #{segment => 1_000_000}, #{once => true, compress => lz4}, #{stream => true, compress => zip}
    ]],
    ?assertMatch({error, {ring_too_small, _}}, start(#{once => 100_000}, Config)),
    %% What is said to be too small is, and what is said to be enough is.
    {error, {segment_too_small, 62_500, Segment, Stream} = Segments} = start(#{stream => 1_000_000}, Config),
    ?assertMatch({match, _}, re:run(spoor:format_error(Segments), "segment => " ++ integer_to_list(Segment))),
    ?assertEqual({error, {stream_too_small, Stream - 1, Stream, Segment}}, start(#{stream => Stream - 1, segment => Segment}, Config)),
    ?assertMatch({error, {stream_too_small, _, _, _}}, start(#{stream => Stream, segment => Segment, compress => lz4}, Config)),
    {error, {stream_too_small, _, Least, _} = TooSmall} = start(#{stream => <<"64MiB">>, segment => <<"64MiB">>}, Config),
    ?assertMatch({match, _}, re:run(spoor:format_error(TooSmall), "stream => " ++ integer_to_list(Least))),
    ?assertEqual(nomatch, re:run(spoor:format_error(TooSmall), "thread|ring")),
    {ok, Session} = start(#{stream => Stream, segment => Segment}, Config),
    {ok, #{path := Path}} = spoor:stop(Session),
    ok = file:del_dir_r(Path),
    ?assertEqual([], filelib:wildcard(filename:join(?config(dir, Config), "*"))).

a_snapshot_of_a_stream_is_a_file(Config) ->
    {ok, Session} = start(#{stream => <<"64MiB">>, segment => <<"1MiB">>, compress => lz4}, Config),
    paced(100, 10_000),
    timer:sleep(300),
    paced(1, 10_000),
    {ok, #{path := Window, earlier := Earlier}} = spoor:snapshot(Session, #{last => {200, millisecond}}),
    {ok, #{path := Whole, events := All, overtaken := 0}} = spoor:snapshot(Session),
    {ok, #{path := Path, events := All, dropped := Dropped}} = spoor:stop(Session),
    Lost = lists:sum(maps:values(Dropped)),
    Calls = proplists:get_value({?MODULE, tick, 1}, spoor_reading:counts(Whole)),
    ?assertEqual(1_010_000, Calls + (Lost + 1) div 2),
    ?assert(Earlier > 0),
    ?assertEqual(true, filelib:is_dir(Path) andalso filelib:is_regular(Whole)),
    [?assertMatch({Copy, {0, _}}, {Copy, spoor_reading:run("check", [Copy])}) || Copy <- [Whole, Window]],
    #{<<"ledger">> := Ledger} = spoor_reading:json("info", [Window]),
    #{<<"stored">> := All, <<"present">> := Present, <<"outside_window">> := Outside} = Ledger,
    ?assertMatch(#{<<"overwritten">> := 0, <<"damaged">> := 0}, Ledger),
    ?assertEqual(All, Present + Outside).

%% What happens in the time after the call is in the copy, of segments that are made,
%% packed and deleted meanwhile, for each of those who ask at once.
what_comes_after_the_call_is_in_the_copy(Config) ->
    Counter = counters:new(1, []),
    Worker = spawn_link(fun() -> receive work -> count(Counter, 1) end end),
    Options = #{
        stream => <<"12MiB">>, segment => <<"1MiB">>, compress => lz4, args => full,
        procs => [Worker], dir => ?config(dir, Config)
    },
    {ok, #{path := Stream} = Session} = spoor:start({?MODULE, tick, 1}, Options),
    Worker ! work,
    ok = await_overwriting(Session),
    Asked = [{300, infinity}, {600, 10_000}, {900, 400}],
    Askers = [spawn_monitor(fun() -> exit(ask(Session, Post, Last, Counter)) end) || {Post, Last} <- Asked],
    Copies = [down(Asker) || Asker <- Askers],
    unlink(Worker),
    true = exit(Worker, kill),
    {ok, _} = spoor:stop(Session),
    ?assertEqual(3, length(lists:usort([Path || {_, _, #{path := Path}} <- Copies]))),
    ?assertEqual(Asked, [{Post, Last} || {_, _, #{post := Post, last := Last}} <- Copies]),
    [assert_reaches(Copy) || Copy <- Copies],
    ?assertEqual([], filelib:wildcard(unicode:characters_to_list(filename:dirname(Stream)) ++ "/*.part")).

%% Each call says its number.
count(Counter, N) ->
    _ = tick(N),
    counters:put(Counter, 1, N),
    _ = N rem 2000 =:= 0 andalso timer:sleep(1),
    count(Counter, N + 1).

await_overwriting(Session) ->
    case spoor:status(Session) of
        #{overwritten := Overwritten} when Overwritten > 0 -> ok;
        #{} -> timer:sleep(50), await_overwriting(Session)
    end.

%% The copy, and how far the worker had counted at the last moment that was looked at
%% before it may have begun, and when it was there.
ask(Session, Post, Last, Counter) ->
    Self = self(),
    Until = erlang:monotonic_time(millisecond) + Post,
    Sampler = spawn_link(fun() -> Self ! {self(), sample(Until, Counter, 0)} end),
    {ok, Copy} = spoor:snapshot(Session, #{post => Post, last => Last}),
    Upper = counters:get(Counter, 1),
    receive {Sampler, Lower} -> {Lower, Upper, Copy} end.

sample(Until, Counter, Before) ->
    Now = counters:get(Counter, 1),
    case erlang:monotonic_time(millisecond) < Until of
        true -> timer:sleep(5), sample(Until, Counter, Now);
        false -> Before
    end.

assert_reaches({Lower, Upper, #{path := Path, events := Events}}) ->
    ?assertMatch({0, _}, spoor_reading:run("check", [Path])),
    Calls = spoor_reading:json_lines("dump", [Path, "--kind", "call", "--last", "10ms"]),
    Numbers = [binary_to_integer(N) || #{<<"fields">> := #{<<"content">> := Args}} <- Calls, N <- string:lexemes(Args, "[]")],
    ?assert(Events >= length(Numbers)),
    ?assertEqual(Numbers, lists:sort(Numbers)),
    %% One may have been recorded and not counted yet.
    ?assert(lists:last(Numbers) >= Lower andalso lists:last(Numbers) =< Upper + 1, {lists:last(Numbers), Lower, Upper}),
    %% Where nothing was dropped there is no hole.
    #{<<"ledger">> := #{<<"dropped">> := Dropped}} = spoor_reading:json("info", [Path]),
    Holes = lists:last(Numbers) - hd(Numbers) + 1 - length(Numbers),
    ?assert(Holes >= 0 andalso Holes =< Dropped, {Holes, Dropped}).

%% A recording that ends in that time has no copy, and leaves none half made.
what_ends_before_the_copy_has_none(Config) ->
    {ok, #{path := Path} = Session} = start(#{stream => <<"16MiB">>, segment => <<"1MiB">>}, Config),
    Asker = spawn_monitor(fun() -> exit({answer, spoor:snapshot(Session, #{post => 60_000})}) end),
    paced(100, 1_000),
    {ok, _} = spoor:stop(Session),
    ?assertEqual({answer, {error, not_recording}}, down(Asker)),
    ?assertEqual([Path], [unicode:characters_to_binary(F) || F <- filelib:wildcard(?config(dir, Config) ++ "/*")]).

down({Pid, Monitor}) ->
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end.

%% As in spoor_kill_SUITE: what was published before the kill had been recorded.
nothing_committed_is_lost_at_sigkill(Config) ->
    [kill_one(filename:join([?config(dir, Config), Mode, integer_to_list(N)]), Mode) ||
        Mode <- ["once", "stream"], N <- lists:seq(1, 10)].

kill_one(Dir, Mode) ->
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    Paths = [filename:dirname(code:which(M)) || M <- [?MODULE, spoor]],
    Port = open_port({spawn_executable, os:find_executable("erl")}, [
        {args, ["-noinput", "+S", "2:2", "-pa" | Paths] ++ ["-s", ?MODULE_STRING, "victim"]},
        {env, [{"SPOOR_DIR", Dir}, {"SPOOR_MODE", Mode}]}, {line, 1000}, exit_status, hide
    ]),
    OsPid = receive {Port, {data, {eol, Line}}} -> Line after 30_000 -> error(victim_does_not_start) end,
    timer:sleep(100 + rand:uniform(400)),
    "" = os:cmd("kill -9 " ++ OsPid),
    receive {Port, {exit_status, 137}} -> ok end,
    {ok, <<Published:64>>} = file:read_file(filename:join(Dir, "published")),
    [Recording] = filelib:wildcard(filename:join(Dir, "*.spoor")),
    #{<<"state">> := <<"died">>, <<"ledger">> := Ledger} = spoor_reading:json("info", [Recording]),
    #{<<"damaged">> := 0, <<"dropped">> := Dropped} = Ledger,
    Recorded = proplists:get_value({?MODULE, tick, 1}, spoor_reading:counts(Recording), 0),
    ?assert(Recorded + Dropped >= Published, {Mode, Recorded, Dropped, Published}),
    ?assert(Published > 0).

%% @doc The VM that is killed.
victim() ->
    Dir = os:getenv("SPOOR_DIR"),
    Storage =
        case os:getenv("SPOOR_MODE") of
            "once" -> #{once => <<"64MiB">>};
            "stream" -> #{stream => <<"64MiB">>, segment => <<"1MiB">>}
        end,
    {ok, _} = spoor:start(?MODULE, Storage#{time => infinity, link => false, procs => new}),
    spawn_link(fun() ->
        {ok, Device} = file:open(filename:join(Dir, "published"), [write, raw, binary]),
        publish(Device, 0)
    end),
    io:format("~s~n", [os:getpid()]),
    timer:sleep(60_000),
    halt(1).

publish(Device, Done) ->
    ok = file:pwrite(Device, 0, <<Done:64>>),
    work(64),
    publish(Device, Done + 64).

%%% Work

start(Options, Config) ->
    spoor:start({?MODULE, tick, 1}, Options#{dir => ?config(dir, Config), time => infinity, procs => [self()]}).

work(0) -> ok;
work(N) -> tick(N), work(N - 1).

%% With time for the disk between.
paced(0, _) -> ok;
paced(Times, N) -> work(N), timer:sleep(2), paced(Times - 1, N).

tick(N) -> N.

events(Path) ->
    #{<<"ledger">> := #{<<"present">> := Present}} = spoor_reading:json("info", [Path]),
    Present.

bytes(Dir) ->
    lists:sum([filelib:file_size(File) || File <- filelib:wildcard(filename:join(unicode:characters_to_list(Dir), "*"))]).
