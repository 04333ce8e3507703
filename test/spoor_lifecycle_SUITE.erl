%% @doc However a recording ends, nothing of it is left: no tracing, no mapping,
%% no open file, no process; and the traced VM goes on.
-module(spoor_lifecycle_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    stop_leaves_nothing/1,
    the_owner_dies/1,
    the_owner_of_an_unlinked_recording_dies/1,
    the_shell_goes_away/1,
    started_by_a_remote_call/1,
    the_time_is_over/1,
    the_events_are_all/1,
    a_limit_that_passes_at_once/1,
    the_recording_is_killed/1,
    the_registry_is_killed/1,
    the_namer_is_killed/1,
    the_application_stops/1,
    the_tracer_module_is_reloaded/1,
    the_tracer_module_is_purged_and_loaded/1,
    a_library_from_elsewhere_takes_no_old_events/1,
    tracing_is_taken_away/1,
    tracing_of_a_listed_process_is_taken_away/1,
    stopped_by_many_at_once/1,
    more_recordings_than_there_is_room_for/1,
    start_and_stop_in_a_loop_under_load/1,
    started_and_killed_in_a_loop_under_load/1,
    processes_on_dirty_schedulers_die_while_traced/1,
    a_chain_of_processes_does_not_outlive_the_tracing/1,
    a_failed_start_gives_its_place_back/1,
    the_dead_are_not_waited_for/1
]).
-export([work/1, server/0]).

all() ->
    [{group, ended_by_somebody}, {group, tracer_module}, {group, taken_away}, {group, under_load}].

groups() ->
    [
        {ended_by_somebody, [], [
            stop_leaves_nothing, the_owner_dies, the_owner_of_an_unlinked_recording_dies, the_shell_goes_away,
            started_by_a_remote_call,
            the_time_is_over, the_events_are_all, a_limit_that_passes_at_once, the_recording_is_killed,
            the_registry_is_killed, the_namer_is_killed, the_application_stops, a_failed_start_gives_its_place_back,
            the_dead_are_not_waited_for
        ]},
        {tracer_module, [], [
            the_tracer_module_is_reloaded, the_tracer_module_is_purged_and_loaded,
            a_library_from_elsewhere_takes_no_old_events
        ]},
        {taken_away, [], [tracing_is_taken_away, tracing_of_a_listed_process_is_taken_away]},
        {under_load, [], [
            stopped_by_many_at_once, more_recordings_than_there_is_room_for, start_and_stop_in_a_loop_under_load,
            started_and_killed_in_a_loop_under_load, processes_on_dirty_schedulers_die_while_traced,
            a_chain_of_processes_does_not_outlive_the_tracing
        ]}
    ].

init_per_testcase(Case, Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    ?assertEqual([], spoor:status()),
    %% A recording answers a moment before it is gone.
    spoor_leftovers:eventually(fun() -> supervisor:which_children(spoor_recording_sup) =:= [] end),
    application:stop(spoor).

%%% Work to record

work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

server() ->
    receive
        {From, N} ->
            ok = work(N),
            From ! {self(), done},
            server();
        stop ->
            ok
    end.

do(Pid, N) ->
    Pid ! {self(), N},
    receive
        {Pid, done} -> ok
    after 5000 -> error(timeout)
    end.

%%% Cases: ended by somebody

stop_leaves_nothing(Config) ->
    {ok, Session} = start([?MODULE, messages], all, Config),
    Server = spawn_link(?MODULE, server, []),
    ok = do(Server, 1000),
    #{path := Path, events := Events} = stop(Session),
    ?assert(Events > 1000),
    ok = do(Server, 1000),
    assert_gone(Session, Path),
    ?assertEqual({ok, Events}, events(Session)),
    Server ! stop.

the_owner_dies(Config) ->
    #{path := Path} = Session = started_elsewhere(Config, #{}, fun() -> exit(oops) end),
    await_end(Session),
    ?assertMatch({ok, #{stop_reason := <<"the owner died">>}}, spoor:stop(Session)),
    assert_gone(Session, Path).

the_owner_of_an_unlinked_recording_dies(Config) ->
    #{path := Path} = Session = started_elsewhere(Config, #{link => false}, fun() -> exit(oops) end),
    timer:sleep(300),
    ?assertMatch(#{phase := recording, trace := on}, spoor:status(Session)),
    ?assertMatch({ok, #{stop_reason := <<"stopped">>}}, spoor:stop(Session)),
    assert_gone(Session, Path).

%% A shell that evaluates is killed when its user goes away.
the_shell_goes_away(Config) ->
    #{path := Path} = Session = started_elsewhere(Config, #{}, fun() -> exit(self(), kill) end),
    await_end(Session),
    ?assertMatch(#{stop_reason := <<"the owner died">>}, spoor:status(Session)),
    assert_gone(Session, Path).

%% `bin/app rpc', rpc:call/4: the process that makes the call ends with it.
started_by_a_remote_call(Config) ->
    Options = #{dir => ?config(dir, Config)},
    {ok, #{path := Path} = Session} = rpc:call(node(), spoor, start, [?MODULE, Options]),
    timer:sleep(300),
    ?assertMatch(#{phase := recording}, spoor:status(Session)),
    ?assertMatch({ok, #{stop_reason := <<"stopped">>}}, spoor:stop(Session)),
    assert_gone(Session, Path).

the_time_is_over(Config) ->
    {ok, #{path := Path} = Session} = start(?MODULE, all, Config, #{time => 200}),
    ok = work(100),
    await_end(Session),
    ?assertMatch(
        #{stop_reason := <<"time">>, events := Events, phase := stopped} when Events >= 102,
        spoor:status(Session)
    ),
    ok = work(100),
    assert_gone(Session, Path).

the_events_are_all(Config) ->
    {ok, #{path := Path} = Session} = start({?MODULE, work, 1}, [self()], Config, #{max_events => 500}),
    ok = work(10000),
    await_end(Session),
    #{stop_reason := <<"max_events">>, events := Events} = spoor:status(Session),
    ?assertEqual(500, Events),
    assert_gone(Session, Path).

a_limit_that_passes_at_once(Config) ->
    [
        begin
            {ok, #{path := Path} = Session} = start(?MODULE, all, Config, Limit),
            ok = work(10),
            await_end(Session),
            assert_gone(Session, Path)
        end
     || Limit <- [#{time => 1}, #{max_events => 1}]
    ].

%% Two ways lead to the end without the process that owns it.
the_recording_is_killed(Config) ->
    {ok, #{pid := Pid, path := Path} = Session} = start(?MODULE, all, Config),
    ok = work(100),
    true = exit(Pid, kill),
    await_end(Session),
    ?assertEqual({error, not_recording}, spoor:stop(Session)),
    spoor_leftovers:eventually(fun() -> spoor_tracer:status(maps:get(id, Session)) =:= {error, closed} end),
    spoor_leftovers:eventually(fun() -> traced() =:= false end),
    assert_gone(Session, Path).

the_registry_is_killed(Config) ->
    {ok, #{path := Path} = Session} = start(?MODULE, all, Config),
    true = exit(whereis(spoor_registry), kill),
    await_end(Session),
    spoor_leftovers:eventually(fun() -> is_pid(whereis(spoor_recording_sup)) end),
    assert_gone(Session, Path),
    {ok, Next} = start(?MODULE, all, Config),
    _ = stop(Next).

the_namer_is_killed(Config) ->
    {ok, #{pid := Pid, path := Path} = Session} = start({?MODULE, work, 1}, [self()], Config),
    {links, Links} = process_info(Pid, links),
    [Namer] = [P || P <- Links, is_pid(P), P =/= whereis(spoor_recording_sup)],
    true = exit(Namer, kill),
    spoor_leftovers:eventually(fun() ->
        {ok, Bytes} = file:read_file(Path),
        binary:match(Bytes, <<"names_lost">>) =/= nomatch
    end),
    ok = work(100),
    ?assertMatch(#{events := 102, trace := on}, spoor:status(Session)),
    _ = stop(Session),
    assert_gone(Session, Path).

the_application_stops(Config) ->
    {ok, #{path := Path} = Session} = start(?MODULE, all, Config),
    ok = work(100),
    ok = application:stop(spoor),
    spoor_leftovers:assert_none(Path),
    ?assertEqual(false, traced()),
    {ok, Bytes} = file:read_file(Path),
    ?assertMatch({_, _}, binary:match(Bytes, <<"the application stopped">>)),
    ?assertEqual({error, not_recording}, spoor:stop(Session)),
    {ok, _} = application:ensure_all_started(spoor).

a_failed_start_gives_its_place_back(Config) ->
    [
        begin
            ?assertMatch({error, _}, start({?MODULE, nosuch}, all, Config)),
            ?assertMatch({error, {ring_too_small, _}}, start(?MODULE, all, Config, #{ring => 100})),
            {ok, Session} = start(?MODULE, all, Config),
            _ = stop(Session)
        end
     || _ <- lists:seq(1, 5)
    ].

the_dead_are_not_waited_for(Config) ->
    Server = spawn(?MODULE, server, []),
    {ok, Session} = start({?MODULE, work, 1}, [Server], Config),
    ok = do(Server, 10),
    Server ! stop,
    timer:sleep(1200),
    %% A traced process that ended is no sign of tracing lost.
    ?assertMatch(#{trace := on}, spoor:status(Session)),
    ?assertMatch(#{events := 13}, stop(Session)).

%%% Cases: the tracer module

the_tracer_module_is_reloaded(Config) ->
    {ok, Session} = start({?MODULE, work, 1}, all, Config),
    Server = spawn_link(?MODULE, server, []),
    Load = spawn_load(Server),
    [
        begin
            _ = code:purge(spoor_tracer),
            {module, spoor_tracer} = code:load_file(spoor_tracer),
            timer:sleep(20)
        end
     || _ <- lists:seq(1, 10)
    ],
    #{events := Before, trace := on} = spoor:status(Session),
    ok = do(Server, 1000),
    stop_load(Load),
    #{path := Path, events := After} = stop(Session),
    ?assert(After >= Before + 1001),
    Server ! stop,
    assert_gone(Session, Path).

the_tracer_module_is_purged_and_loaded(Config) ->
    {ok, #{path := Path} = Session} = start({?MODULE, work, 1}, all, Config),
    ok = work(100),
    %% Calls without the module: the VM does without the tracer.
    _ = code:purge(spoor_tracer),
    true = code:delete(spoor_tracer),
    ok = work(100),
    _ = code:purge(spoor_tracer),
    {module, spoor_tracer} = code:load_file(spoor_tracer),
    _ = stop(Session),
    assert_gone(Session, Path).

%% As after the upgrade of a release: the second copy of the library knows nothing
%% of the first one's recordings.
a_library_from_elsewhere_takes_no_old_events(Config) ->
    Dir = ?config(dir, Config),
    Old = open(filename:join(Dir, "old.spoor")),
    Server = spawn_link(?MODULE, server, []),
    1 = erlang:trace_pattern({?MODULE, work, 1}, true, [local]),
    1 = erlang:trace(Server, true, [call, {tracer, spoor_tracer, Old}]),
    ok = do(Server, 1),
    Elsewhere = filename:join(Dir, "elsewhere.so"),
    {ok, _} = file:copy(filename:join([code:priv_dir(spoor), "native", "spoor_tracer.so"]), Elsewhere),
    load_library({ok, Elsewhere}),
    New = open(filename:join(Dir, "new.spoor")),
    ok = do(Server, 10),
    ?assertMatch(#{events := 0}, closed(New)),
    load_library(undefined),
    ?assertMatch(#{events := 2}, closed(Old)),
    1 = erlang:trace_pattern({?MODULE, work, 1}, false, [local]),
    Server ! stop.

load_library(Env) ->
    case Env of
        {ok, Path} -> ok = application:set_env(spoor, nif_path, Path);
        undefined -> ok = application:unset_env(spoor, nif_path)
    end,
    _ = code:purge(spoor_tracer),
    {module, spoor_tracer} = code:load_file(spoor_tracer).

%% A recording without a process of Spoor's.
open(Path) ->
    {ok, Id} = spoor_tracer:open(#{
        path => unicode:characters_to_binary(Path), ring => 8 bsl 20, owner => self(), time => 0, max_events => 0,
        content => none, max_term_bytes => 64, meta => []
    }),
    Id.

closed(Id) ->
    ok = spoor_tracer:close(Id, <<"test">>),
    receive
        {spoor_tracer, Id, {closed, Counts}} -> Counts
    after 5000 -> error(timeout)
    end.

%%% Cases: taken away

tracing_is_taken_away(Config) ->
    [
        begin
            {ok, #{path := Path} = Session} = start(?MODULE, Procs, Config),
            ok = work(10),
            ?assertMatch(#{trace := on}, spoor:status(Session)),
            take_away(Session),
            spoor_leftovers:eventually(fun() -> maps:get(trace, spoor:status(Session)) =:= lost end),
            ?assertMatch(#{phase := recording}, spoor:status(Session)),
            _ = stop(Session),
            {ok, Bytes} = file:read_file(Path),
            ?assertMatch({_, _}, binary:match(Bytes, <<"trace_lost">>)),
            assert_gone(Session, Path)
        end
     || Procs <- [all, new, existing, [self()]]
    ].

tracing_of_a_listed_process_is_taken_away(Config) ->
    case spoor_leftovers:is_session_vm() of
        %% Nobody else reaches into a session.
        true -> ok;
        false -> lose_one_of_two(Config)
    end.

lose_one_of_two(Config) ->
    Server = spawn_link(?MODULE, server, []),
    {ok, Session} = start(?MODULE, [self(), Server], Config),
    1 = erlang:trace(Server, false, [all]),
    spoor_leftovers:eventually(fun() -> maps:get(trace, spoor:status(Session)) =:= lost end),
    _ = stop(Session),
    Server ! stop.

%% As recon_trace:clear/0 does; a session can be ended by anybody who finds it.
take_away(_Session) ->
    case spoor_tracing:api() of
        legacy ->
            erlang:trace(all, false, [all]);
        {session, Api} ->
            [Weak] = [W || {Name, _} = W <- Api:session_info(all), Name =/= legacy],
            true = Api:session_destroy(Weak)
    end.

%%% Cases: under load

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
    Load = spawn_load([spawn_link(?MODULE, server, []) || _ <- lists:seq(1, 4)]),
    Before = resources(),
    Paths = [
        begin
            {ok, Session} = start(What, Procs, Config),
            timer:sleep(N rem 7),
            #{path := Path} = stop(Session),
            Path
        end
     || N <- lists:seq(1, 20),
        {What, Procs} <- [{[?MODULE, messages], all}, {gc, all}, {[?MODULE, lists], new}]
    ],
    stop_load(Load),
    [spoor_leftovers:assert_none(Path) || Path <- [hd(Paths), lists:last(Paths)]],
    ?assertEqual(false, traced()),
    ?assertEqual(60, length(lists:usort(Paths))),
    spoor_leftovers:eventually(fun() -> no_more_than(resources(), Before) end).

started_and_killed_in_a_loop_under_load(Config) ->
    Load = spawn_load([spawn_link(?MODULE, server, []) || _ <- lists:seq(1, 4)]),
    Before = resources(),
    Paths = [
        begin
            #{path := Path} = Session = start_when_free([?MODULE, messages], all, Config),
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

start(What, Procs, Config) -> start(What, Procs, Config, #{}).

start(What, Procs, Config, Options) ->
    Defaults = #{dir => ?config(dir, Config), ring => <<"1MiB">>, procs => Procs},
    spoor:start(What, maps:merge(Defaults, Options)).

%% A recording that was killed is cleaned up after by another process.
start_when_free(What, Procs, Config) ->
    case start(What, Procs, Config) of
        {ok, Session} -> Session;
        {error, {already_recording, _}} -> timer:sleep(5), start_when_free(What, Procs, Config)
    end.

stop(Session) ->
    {ok, Summary} = spoor:stop(Session),
    Summary.

events(Session) ->
    case spoor:stop(Session) of
        {ok, #{events := Events}} -> {ok, Events};
        {error, _} = Error -> Error
    end.

started_elsewhere(Config, Options, Then) ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        {ok, Session} = start(?MODULE, all, Config, Options),
        Self ! {session, Session},
        Then()
    end),
    receive
        {session, Session} -> ok
    end,
    receive
        {'DOWN', Monitor, process, _, _} -> Session
    end.

await_end(#{pid := Pid}) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    after 5000 -> ct:fail(still_recording)
    end.

assert_gone(#{pid := Pid}, Path) ->
    ?assertNot(is_process_alive(Pid)),
    spoor_leftovers:assert_none(Path),
    ?assertEqual(false, traced()).

traced() ->
    {traced, Traced} = erlang:trace_info({?MODULE, work, 1}, traced),
    Traced.

%% Processes, threads, mappings and open files of this VM.
resources() ->
    {ok, Threads} = file:list_dir("/proc/self/task"),
    {ok, Files} = file:list_dir("/proc/self/fd"),
    {ok, Maps} = file:read_file("/proc/self/maps"),
    {length(processes()), length(Threads), length(Files), length(binary:matches(Maps, <<".spoor">>))}.

no_more_than({P1, T1, F1, M1}, {P2, T2, F2, M2}) ->
    P1 =< P2 andalso T1 =< T2 andalso F1 =< F2 andalso M1 =< M2.

spawn_load(Server) when is_pid(Server) ->
    spawn_load([Server]);
spawn_load(Servers) ->
    {spawn_link(fun() -> load(Servers) end), Servers}.

load(Servers) ->
    _ = [ok = do(Server, 50) || Server <- Servers],
    _ = spawn(fun() -> work(10) end),
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 -> load(Servers)
    end.

stop_load({Pid, Servers}) ->
    Pid ! {stop, self()},
    receive
        {Pid, stopped} -> [Server ! stop || Server <- Servers]
    end.
