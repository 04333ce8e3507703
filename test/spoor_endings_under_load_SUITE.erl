%% @doc Recordings that begin and end under load, many at once, over and over, leave
%% nothing behind.
-module(spoor_endings_under_load_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    stopped_by_many_at_once/1,
    more_recordings_than_there_is_room_for/1,
    start_and_stop_in_a_loop_under_load/1,
    started_and_killed_in_a_loop_under_load/1,
    processes_on_dirty_schedulers_die_while_traced/1,
    a_chain_of_processes_does_not_outlive_the_tracing/1
]).

-import(spoor_ending, [start/3, stop/1, await_end/1, assert_gone/2, traced/0, spawn_load/1, stop_load/1]).

all() ->
    [
        stopped_by_many_at_once,
        more_recordings_than_there_is_room_for,
        start_and_stop_in_a_loop_under_load,
        started_and_killed_in_a_loop_under_load,
        processes_on_dirty_schedulers_die_while_traced,
        a_chain_of_processes_does_not_outlive_the_tracing
    ].

init_per_testcase(Case, Config) -> spoor_ending:begun(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_ending:nothing_left().

stopped_by_many_at_once(Config) ->
    {ok, #{path := Path} = Session} = start(?MODULE, all, Config),
    Self = self(),
    _ = [spawn_link(fun() -> Self ! {stopped, spoor:stop(Session)} end) || _ <- lists:seq(1, 20)],
    Answers = [
        receive
            {stopped, Answer} -> Answer
        after 10000 -> timeout
        end
     || _ <- lists:seq(1, 20)
    ],
    ?assertMatch([{ok, #{path := Path}}], lists:usort(Answers)),
    assert_gone(Session, Path).

more_recordings_than_there_is_room_for(Config) ->
    Opened = [spoor:open(#{dir => ?config(dir, Config), ring => <<"1MiB">>}) || _ <- lists:seq(1, 18)],
    {Room, NoRoom} = lists:split(16, Opened),
    [?assertMatch({ok, _}, Answer) || Answer <- Room],
    [?assertEqual({error, too_many_recordings}, Answer) || Answer <- NoRoom],
    ?assertEqual(16, length(spoor:status())),
    ?assertEqual(16, length(lists:usort([Path || {ok, #{path := Path}} <- Room]))),
    {ok, Summaries} = spoor:stop(),
    ?assertEqual(16, length(Summaries)),
    [spoor_leftovers:assert_none(Path) || #{path := Path} <- Summaries].

start_and_stop_in_a_loop_under_load(Config) ->
    Load = spawn_load([spawn_link(spoor_ending, server, []) || _ <- lists:seq(1, 4)]),
    Before = resources(),
    Paths = [
        begin
            {ok, Session} = start(What, Procs, Config),
            timer:sleep(N rem 7),
            #{path := Path} = stop(Session),
            Path
        end
     || N <- lists:seq(1, 20),
        {What, Procs} <- [{[spoor_ending, messages], all}, {gc, all}, {[spoor_ending, lists], new}]
    ],
    stop_load(Load),
    [spoor_leftovers:assert_none(Path) || Path <- [hd(Paths), lists:last(Paths)]],
    ?assertEqual(false, traced()),
    ?assertEqual(60, length(lists:usort(Paths))),
    spoor_leftovers:eventually(fun() -> no_more_than(resources(), Before) end).

started_and_killed_in_a_loop_under_load(Config) ->
    Load = spawn_load([spawn_link(spoor_ending, server, []) || _ <- lists:seq(1, 4)]),
    Before = resources(),
    Paths = [
        begin
            #{path := Path} = Session = start_when_free([spoor_ending, messages], all, Config),
            timer:sleep(N rem 5),
            true = exit(maps:get(pid, Session), kill),
            await_end(Session),
            Path
        end
     || N <- lists:seq(1, 20)
    ],
    stop_load(Load),
    spoor_leftovers:eventually(fun() -> traced() =:= false end),
    spoor_leftovers:eventually(fun() -> no_more_than(resources(), Before) end),
    [spoor_leftovers:assert_none(Path) || Path <- Paths].

%% Large heaps are collected, and files read, on dirty schedulers.
processes_on_dirty_schedulers_die_while_traced(Config) ->
    File = code:which(?MODULE),
    Dirty = fun() ->
        _ = [{ok, _} = file:read_file(File) || _ <- lists:seq(1, 20)],
        Large = lists:seq(1, 200000),
        true = garbage_collect(),
        exit({ended, length(Large)})
    end,
    [
        begin
            {ok, Session} = start(What, all, Config),
            Monitors = [spawn_monitor(Dirty) || _ <- lists:seq(1, 10)],
            _ = [exit(Pid, kill) || {Pid, _} <- lists:sublist(Monitors, 5)],
            #{path := Path} = stop(Session),
            [
                receive
                    {'DOWN', Monitor, process, _, _} -> ok
                end
             || {_, Monitor} <- Monitors
            ],
            assert_gone(Session, Path)
        end
     || _ <- lists:seq(1, 5), What <- [?MODULE, gc, messages, [?MODULE, gc, messages]]
    ].

%% Each process spawns its successor and ends: whoever looks is always too late.
a_chain_of_processes_does_not_outlive_the_tracing(Config) ->
    Self = self(),
    Chain = fun
        Link(Next) ->
            case persistent_term:get(?MODULE, on) of
                on -> spawn(fun() -> Link(Next) end);
                off -> Self ! ended
            end
    end,
    First = spawn(fun() ->
        receive
            go -> Chain(Chain)
        end
    end),
    {ok, #{path := Path} = Session} = start(?MODULE, [First], Config),
    First ! go,
    timer:sleep(50),
    _ = stop(Session),
    %% No event reaches a recording that has ended; tracing goes with the next turn.
    spoor_leftovers:assert_none(Path),
    persistent_term:put(?MODULE, off),
    receive
        ended -> true = persistent_term:erase(?MODULE)
    after 5000 -> ct:fail(chain_is_lost)
    end.

%%% Helpers

%% A recording that was killed is cleaned up after by another process.
start_when_free(What, Procs, Config) ->
    case start(What, Procs, Config) of
        {ok, Session} -> Session;
        {error, {already_recording, _}} -> timer:sleep(5), start_when_free(What, Procs, Config)
    end.

%% Processes, threads, mappings and open files of this VM.
resources() ->
    {ok, Threads} = file:list_dir("/proc/self/task"),
    {ok, Files} = file:list_dir("/proc/self/fd"),
    {ok, Maps} = file:read_file("/proc/self/maps"),
    {length(processes()), length(Threads), length(Files), length(binary:matches(Maps, <<".spoor">>))}.

no_more_than({P1, T1, F1, M1}, {P2, T2, F2, M2}) ->
    P1 =< P2 andalso T1 =< T2 andalso F1 =< F2 andalso M1 =< M2.
