%% @doc However a recording ends, nothing of it is left: no tracing, no mapping,
%% no open file, no process; and the traced VM goes on.
-module(spoor_lifecycle_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
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
    the_disk_is_slow/1,
    the_end_loads_no_module/1,
    the_end_is_asked_for_all_the_while/1,
    the_registry_is_killed/1,
    the_namer_is_killed/1,
    the_application_stops/1,
    a_failed_start_gives_its_place_back/1,
    the_dead_are_not_waited_for/1
]).
-export([started_here/1]).

-import(spoor_ending, [work/1, do/2, start/3, start/4, stop/1, await_end/1, assert_gone/2, traced/0]).

all() ->
    [
        stop_leaves_nothing,
        the_owner_dies,
        the_owner_of_an_unlinked_recording_dies,
        the_shell_goes_away,
        started_by_a_remote_call,
        the_time_is_over,
        the_events_are_all,
        a_limit_that_passes_at_once,
        the_recording_is_killed,
        the_disk_is_slow,
        the_end_loads_no_module,
        the_end_is_asked_for_all_the_while,
        the_registry_is_killed,
        the_namer_is_killed,
        the_application_stops,
        a_failed_start_gives_its_place_back,
        the_dead_are_not_waited_for
    ].

init_per_testcase(Case, Config) -> spoor_ending:begun(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_ending:nothing_left().

stop_leaves_nothing(Config) ->
    {ok, Session} = start([spoor_ending, messages], all, Config),
    Server = spawn_link(spoor_ending, server, []),
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

%% rpc:call/4, `bin/app rpc': the process that makes the call ends with it. Without a limit
%% of time rpc:call/4 needs another node for that. erl_call, of whom the releases of rebar3
%% make use, sends `rex' what is sent here.
started_by_a_remote_call(Config) ->
    Options = #{dir => ?config(dir, Config)},
    Here = [?MODULE, started_here, [Options]],
    Rpc = fun() -> apply(rpc, call, [node() | Here] ++ [5000]) end,
    Erpc = fun() -> apply(erpc, call, [node() | Here] ++ [5000]) end,
    ErlCall = fun() ->
        rex ! {self(), list_to_tuple([call | Here] ++ [user])},
        receive
            {rex, Answer} -> Answer
        after 5000 -> ct:fail(no_answer)
        end
    end,
    [
        begin
            {Pid, {ok, #{path := Path} = Session}} = Start(),
            spoor_leftovers:eventually(fun() -> not is_process_alive(Pid) end),
            timer:sleep(300),
            ?assertMatch(#{phase := recording}, spoor:status(Session)),
            ?assertMatch({ok, #{stop_reason := <<"stopped">>}}, spoor:stop(Session)),
            assert_gone(Session, Path)
        end
     || Start <- [Rpc, Erpc, ErlCall]
    ].

started_here(Options) -> {self(), spoor:start(spoor_ending, Options)}.

the_time_is_over(Config) ->
    {ok, #{path := Path} = Session} = start(spoor_ending, all, Config, #{time => 200}),
    ok = work(100),
    await_end(Session),
    ?assertMatch(
        #{stop_reason := <<"time">>, events := Events, phase := stopped} when Events >= 102,
        spoor:status(Session)
    ),
    ok = work(100),
    assert_gone(Session, Path).

the_events_are_all(Config) ->
    {ok, #{path := Path} = Session} = start({spoor_ending, work, 1}, [self()], Config, #{max_events => 500}),
    ok = work(10000),
    await_end(Session),
    #{stop_reason := <<"max_events">>, events := Events} = spoor:status(Session),
    ?assertEqual(500, Events),
    assert_gone(Session, Path).

a_limit_that_passes_at_once(Config) ->
    [
        begin
            {ok, #{path := Path} = Session} = start(spoor_ending, all, Config, Limit),
            ok = work(10),
            await_end(Session),
            assert_gone(Session, Path)
        end
     || Limit <- [#{time => 1}, #{max_events => 1}]
    ].

%% Whatever the recorder waits for: what was counted before is told. (Here it does not
%% answer, as it is asked of another recording.)
the_disk_is_slow(Config) ->
    {ok, #{pid := Pid} = Session} = start({spoor_ending, work, 1}, [self()], Config),
    ok = work(100),
    ?assertMatch(#{events := 102}, spoor:status(Session)),
    _ = sys:replace_state(Pid, fun({State, #{id := Id} = Data}) -> {State, Data#{id := Id + (1 bsl 40)}} end),
    ?assertMatch(#{events := 102, phase := stopping}, spoor:status(Session)),
    {ok, Summary} = spoor:stop(Session),
    ?assertMatch(#{events := 102, phase := stopping, stop_reason := <<"stopped">>}, Summary),
    ?assertNotEqual(nomatch, binary:match(maps:get(text, Summary), <<"not complete yet">>)).

%% To load one takes a file descriptor, and there may be none.
the_end_loads_no_module(Config) ->
    Paths = [filename:dirname(code:which(Module)) || Module <- [spoor, ?MODULE]],
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, args => ["-pa" | Paths]}),
    Call = fun(M, F, A) -> peer:call(Peer, M, F, A) end,
    {ok, _} = Call(application, ensure_all_started, [spoor]),
    {ok, Session} = Call(spoor, start, [lists, #{dir => ?config(dir, Config), ring => <<"2MiB">>, link => false}]),
    Before = Call(code, all_loaded, []),
    {ok, _} = Call(spoor, stop, [Session]),
    ?assertEqual([], Call(code, all_loaded, []) -- Before),
    ok = peer:stop(Peer).

%% There is an answer at any time.
the_end_is_asked_for_all_the_while(Config) ->
    [
        begin
            {ok, Session} = start({spoor_ending, work, 1}, [self()], Config, #{max_events => 100}),
            ok = work(200),
            ?assertMatch(#{events := 100, stop_reason := <<"max_events">>}, asked_until_stopped(Session))
        end
     || _ <- lists:seq(1, 20)
    ].

asked_until_stopped(Session) ->
    case spoor:status(Session) of
        #{phase := stopped} = Summary -> Summary;
        #{phase := _} -> asked_until_stopped(Session)
    end.

%% Two ways lead to the end without the process that owns it.
the_recording_is_killed(Config) ->
    {ok, #{pid := Pid, path := Path} = Session} = start(spoor_ending, all, Config),
    ok = work(100),
    true = exit(Pid, kill),
    await_end(Session),
    ?assertEqual({error, not_recording}, spoor:stop(Session)),
    spoor_leftovers:eventually(fun() -> spoor_tracer:status(maps:get(id, Session)) =:= {error, closed} end),
    spoor_leftovers:eventually(fun() -> traced() =:= false end),
    assert_gone(Session, Path).

the_registry_is_killed(Config) ->
    {ok, #{path := Path} = Session} = start(spoor_ending, all, Config),
    true = exit(whereis(spoor_registry), kill),
    await_end(Session),
    spoor_leftovers:eventually(fun() -> is_pid(whereis(spoor_recording_sup)) end),
    assert_gone(Session, Path),
    {ok, Next} = start(spoor_ending, all, Config),
    _ = stop(Next).

the_namer_is_killed(Config) ->
    {ok, #{pid := Pid, path := Path} = Session} = start({spoor_ending, work, 1}, [self()], Config),
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
    {ok, #{path := Path} = Session} = start(spoor_ending, all, Config),
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
            ?assertMatch({error, _}, start({spoor_ending, nosuch}, all, Config)),
            ?assertMatch({error, {ring_too_small, _}}, start(spoor_ending, all, Config, #{ring => 100})),
            {ok, Session} = start(spoor_ending, all, Config),
            _ = stop(Session)
        end
     || _ <- lists:seq(1, 5)
    ].

the_dead_are_not_waited_for(Config) ->
    Server = spawn(spoor_ending, server, []),
    {ok, Session} = start({spoor_ending, work, 1}, [Server], Config),
    ok = do(Server, 10),
    Server ! stop,
    timer:sleep(1200),
    %% A traced process that ended is no sign of tracing lost.
    ?assertMatch(#{trace := on}, spoor:status(Session)),
    ?assertMatch(#{events := 13}, stop(Session)).

events(Session) ->
    case spoor:stop(Session) of
        {ok, #{events := Events}} -> {ok, Events};
        {error, _} = Error -> Error
    end.

started_elsewhere(Config, Options, Then) ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        {ok, Session} = start(spoor_ending, all, Config, Options),
        Self ! {session, Session},
        Then()
    end),
    receive
        {session, Session} -> ok
    end,
    receive
        {'DOWN', Monitor, process, _, _} -> Session
    end.
