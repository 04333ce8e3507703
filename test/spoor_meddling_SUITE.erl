%% @doc Others load the tracer module anew, delete it, or take the tracing away: nothing of a
%% recording is left, and what was recorded stays.
-module(spoor_meddling_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    the_tracer_module_is_reloaded/1,
    the_tracer_module_is_purged_and_loaded/1,
    a_library_from_elsewhere_takes_no_old_events/1,
    tracing_is_taken_away/1,
    tracing_of_a_listed_process_is_taken_away/1
]).

-import(spoor_ending, [work/1, do/2, start/3, stop/1, assert_gone/2, spawn_load/1, stop_load/1]).

all() ->
    [{group, tracer_module}, {group, taken_away}].

groups() ->
    [
        {tracer_module, [], [
            the_tracer_module_is_reloaded,
            the_tracer_module_is_purged_and_loaded,
            a_library_from_elsewhere_takes_no_old_events
        ]},
        {taken_away, [], [
            tracing_is_taken_away,
            tracing_of_a_listed_process_is_taken_away
        ]}
    ].

init_per_testcase(Case, Config) -> spoor_ending:begun(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_ending:nothing_left().

%%% The tracer module

the_tracer_module_is_reloaded(Config) ->
    {ok, Session} = start({spoor_ending, work, 1}, all, Config),
    Server = spawn_link(spoor_ending, server, []),
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
    {ok, #{path := Path} = Session} = start({spoor_ending, work, 1}, all, Config),
    ok = work(100),
    %% Calls without the module: the VM does without the tracer.
    _ = code:purge(spoor_tracer),
    true = code:delete(spoor_tracer),
    ok = work(100),
    _ = code:purge(spoor_tracer),
    %% The recording's processes load it, too, when they call it: a second load_file in that moment is
    %% forgotten by OTP 25's code server, and waits for ever.
    {module, spoor_tracer} = code:ensure_loaded(spoor_tracer),
    _ = stop(Session),
    assert_gone(Session, Path).

%% As after the upgrade of a release: the first copy of the library ends its recordings, of which
%% the second knows nothing.
a_library_from_elsewhere_takes_no_old_events(Config) ->
    Dir = ?config(dir, Config),
    Old = open(filename:join(Dir, "old.spoor")),
    Server = spawn_link(spoor_ending, server, []),
    1 = erlang:trace_pattern({spoor_ending, work, 1}, true, [local]),
    1 = erlang:trace(Server, true, [call, {tracer, spoor_tracer, Old}]),
    ok = do(Server, 1),
    Elsewhere = filename:join(Dir, "elsewhere.so"),
    {ok, _} = file:copy(filename:join([code:priv_dir(spoor), "native", "spoor_tracer.so"]), Elsewhere),
    load_library({ok, Elsewhere}),
    ?assertMatch(#{events := 2, stop_reason := <<"Spoor was upgraded">>}, ended(Old)),
    New = open(filename:join(Dir, "new.spoor")),
    ok = do(Server, 10),
    ?assertMatch(#{events := 0}, closed(New)),
    load_library(undefined),
    1 = erlang:trace_pattern({spoor_ending, work, 1}, false, [local]),
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
    ended(Id).

ended(Id) ->
    receive
        {spoor_tracer, Id, {closed, Counts}} -> Counts
    after 5000 -> error(timeout)
    end.

%%% Tracing is taken away

tracing_is_taken_away(Config) ->
    [
        begin
            {ok, #{path := Path} = Session} = start(spoor_ending, Procs, Config),
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
    Server = spawn_link(spoor_ending, server, []),
    {ok, Session} = start(spoor_ending, [self(), Server], Config),
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
