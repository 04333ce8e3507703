%% @doc Copies of a recording that goes on.
-module(spoor_snapshots_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("kernel/include/file.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_snapshot_is_a_file_beside_the_recording/1,
    snapshots_under_load_are_sound_and_complete/1,
    a_snapshot_of_the_past_is_refused/1,
    the_only_recording_need_not_be_named/1
]).

-import(spoor_servant, [work/1, start/3, start/4, stop/1, files/1]).

all() ->
    [
        a_snapshot_is_a_file_beside_the_recording,
        snapshots_under_load_are_sound_and_complete,
        a_snapshot_of_the_past_is_refused,
        the_only_recording_need_not_be_named
    ].

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_servant:nothing_recorded().

a_snapshot_is_a_file_beside_the_recording(Config) ->
    {ok, #{path := Path} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    ok = work(100),
    timer:sleep(20),
    {ok, #{path := First, events := 102, reason := slow, last := 30000, covered := Covered}} =
        spoor:snapshot(Session, #{last => {30, second}, reason => slow}),
    %% Of the window asked for there is only what has been recorded.
    #{elapsed_ms := Elapsed} = spoor:status(Session),
    ?assert(Covered >= 20 andalso Covered =< Elapsed + 1),
    ok = work(100),
    {ok, #{path := Second, events := 204}} = spoor:snapshot(Session),
    ?assertEqual(<<(filename:rootname(Path))/binary, "-snap-1.spoor">>, First),
    ?assertEqual(<<(filename:rootname(Path))/binary, "-snap-2.spoor">>, Second),
    ?assertEqual(lists:sort([Path, First, Second]), files(Config)),
    ?assertEqual([8#600], lists:usort([mode(File) || File <- files(Config)])),
    {ok, Copied} = file:read_file(First),
    [?assertMatch({_, _}, binary:match(Copied, Text)) || Text <- [<<"snapshot">>, <<"slow">>]],
    ?assertMatch({error, {bad_option, {time, _}}}, spoor:snapshot(Session, #{time => 1})),
    ?assertMatch(#{events := 204}, stop(Session)),
    ?assertEqual({ok, Copied}, file:read_file(First)).

%% Over and over while two processes work as fast as they can: each copy is sound, is
%% complete up to the last call that was counted before it was asked for, and invents none.
snapshots_under_load_are_sound_and_complete(Config) ->
    Counters = counters:new(2, []),
    Workers = [spawn_link(fun() -> work_and_count(Counters, N) end) || N <- [1, 2]],
    {ok, Session} = start({spoor_servant, work, 1}, Workers, Config, #{ring => <<"16MiB">>}),
    [Worker ! work || Worker <- Workers],
    Post = #{post => {300, millisecond}, last => {200, millisecond}},
    {Us, {ok, #{path := Windowed, covered := Covered}}} = timer:tc(fun() -> spoor:snapshot(Session, Post) end),
    ?assert(Us >= 300_000),
    ?assert(Covered > 0 andalso Covered =< 200),
    Copies = [snapshot_between(Session, Counters) || _ <- lists:seq(1, 5)],
    [begin unlink(Worker), exit(Worker, kill) end || Worker <- Workers],
    #{path := Whole} = stop(Session),
    [
        begin
            #{<<"findings">> := Findings} = spoor_reading:json("info", [Path]),
            ?assertEqual([], [F || #{<<"severity">> := <<"damage">>} = F <- Findings]),
            ?assertMatch({0, _}, spoor_reading:run("check", [Path]))
        end
     || Path <- [Windowed, Whole | [Copy || {Copy, _, _} <- Copies]]
    ],
    [
        begin
            Calls = proplists:get_value({spoor_servant, work, 1}, spoor_reading:counts(Copy)),
            ?assert(Calls >= Before),
            ?assert(Calls =< After)
        end
     || {Copy, Before, After} <- Copies
    ],
    {0, Info} = spoor_reading:run("info", [Windowed]),
    ?assertNotEqual(nomatch, string:find(Info, "a snapshot of the last 200 ms")).

snapshot_between(Session, Counters) ->
    timer:sleep(50),
    Before = counters:get(Counters, 1) + counters:get(Counters, 2),
    {ok, #{path := Path, overtaken := 0}} = spoor:snapshot(Session),
    %% One call of each may have been recorded and not counted yet.
    {Path, Before, counters:get(Counters, 1) + counters:get(Counters, 2) + 2}.

work_and_count(Counters, N) ->
    receive work -> ok end,
    work_and_count(Counters, N, 0).

%% So many that the ring of the recording holds them all.
work_and_count(Counters, N, Done) ->
    work(0),
    counters:add(Counters, N, 1),
    Done rem 500 =:= 0 andalso timer:sleep(1),
    work_and_count(Counters, N, Done + 1).

a_snapshot_of_the_past_is_refused(Config) ->
    {ok, Session} = start({spoor_servant, work, 1}, [self()], Config),
    _ = stop(Session),
    ?assertEqual({error, not_recording}, spoor:snapshot(Session)),
    ?assertMatch([_], files(Config)).

%% As from a remote shell, which has no session in hand.
the_only_recording_need_not_be_named(Config) ->
    ?assertEqual({error, not_recording}, spoor:snapshot(#{last => {30, second}})),
    {ok, #{path := Path} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    ok = work(100),
    ?assertMatch({ok, #{events := 102, last := 30000}}, spoor:snapshot(#{last => {30, second}})),
    ?assertMatch({ok, #{events := 102, reason := slow}}, spoor:snapshot([{reason, slow}])),
    ?assertMatch({ok, #{events := 102}}, spoor:snapshot()),
    [Status] = spoor:status(),
    ?assertMatch({ok, #{events := 102}}, spoor:snapshot(Status)),
    ?assertEqual({error, {bad_session, x}}, spoor:snapshot(x)),
    ?assertMatch({error, {bad_option, _}}, spoor:snapshot([x, 1])),
    {ok, #{path := Other} = Second} = spoor:open(#{dir => ?config(priv_dir, Config)}),
    {error, {several_recordings, Paths} = Reason} = spoor:snapshot(#{}),
    ?assertEqual(lists:sort([Path, Other]), lists:sort(Paths)),
    ?assertNotEqual(nomatch, string:find(spoor:format_error(Reason), Path)),
    {ok, _} = spoor:stop(Second),
    _ = stop(Session).

mode(Path) ->
    {ok, #file_info{mode = Mode}} = file:read_file_info(Path),
    Mode band 8#777.
