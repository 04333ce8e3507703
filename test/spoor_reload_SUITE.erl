% @doc Modules that are traced are loaded anew, deleted, or loaded for the first time.
-module(spoor_reload_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_traced_module_is_reloaded/1,
    a_load_just_before_the_end_is_told/1,
    a_traced_module_is_deleted_and_comes_back/1,
    a_new_version_without_the_function_is_traced/1,
    modules_loaded_later_are_traced_where_all_are/1,
    somebody_traces_what_is_loaded_later/1,
    a_recording_goes_on_when_spoor_is_loaded_again/1,
    an_upgrade_of_spoor_ends_its_recordings/1
]).

-import(spoor_servant, [start/4, stop/1]).

all() ->
    [
        a_traced_module_is_reloaded,
        a_load_just_before_the_end_is_told,
        a_traced_module_is_deleted_and_comes_back,
        a_new_version_without_the_function_is_traced,
        modules_loaded_later_are_traced_where_all_are,
        somebody_traces_what_is_loaded_later,
        a_recording_goes_on_when_spoor_is_loaded_again,
        an_upgrade_of_spoor_ends_its_recordings
    ].

init_per_testcase(Case, Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    ?assertEqual([], spoor:status()),
    application:stop(spoor).

a_traced_module_is_reloaded(Config) ->
    Module = scratch_module(spoor_scratch, Config),
    {ok, Session} = start(Module, [self()], Config, #{set_on_spawn => false}),
    ok = Module:work(10),
    #{events := 12} = spoor:status(Session),
    false = code:purge(Module),
    {module, Module} = code:load_file(Module),
    spoor_leftovers:eventually(fun() ->
        ok = Module:work(10),
        maps:get(events, spoor:status(Session)) >= 24
    end),
    ?assertMatch(#{trace := on}, spoor:status(Session)),
    #{path := Path} = stop(Session),
    {ok, Bytes} = file:read_file(Path),
    ?assertMatch({_, _}, binary:match(Bytes, <<"reloaded">>)),
    spoor_leftovers:assert_untraced([{Module, work, 1}]),
    unload(Module).

a_load_just_before_the_end_is_told(Config) ->
    Module = scratch_module(spoor_scratch_7, Config),
    {ok, Session} = start(Module, [self()], Config, #{set_on_spawn => false}),
    ok = Module:work(10),
    false = code:purge(Module),
    {module, Module} = code:load_file(Module),
    ok = Module:work(10),
    #{path := Path, events := 12} = stop(Session),
    ?assertEqual(1, reloads(Path)),
    spoor_leftovers:assert_untraced([{Module, work, 1}]),
    unload(Module).

a_traced_module_is_deleted_and_comes_back(Config) ->
    Module = scratch_module(spoor_scratch_2, Config),
    {ok, Session} = start(Module, [self()], Config, #{set_on_spawn => false}),
    unload(Module),
    timer:sleep(1200),
    ?assertMatch(#{trace := on}, spoor:status(Session)),
    {module, Module} = code:load_file(Module),
    spoor_leftovers:eventually(fun() ->
        ok = Module:work(10),
        maps:get(events, spoor:status(Session)) >= 12
    end),
    _ = stop(Session),
    unload(Module).

a_new_version_without_the_function_is_traced(Config) ->
    Module = scratch_module(spoor_scratch_3, Config, "a(N) -> N.\n", ["a/1", "work/1"]),
    {ok, Session} = start(Module, [self()], Config, #{set_on_spawn => false}),
    %% Where two can trace at a time.
    Named =
        case spoor_leftovers:is_session_vm() of
            true -> [element(2, start({Module, a}, [self()], Config, #{set_on_spawn => false}))];
            false -> []
        end,
    _ = scratch_module(Module, Config, "a(N, M) -> N + M.\n", ["a/2", "work/1"]),
    spoor_leftovers:eventually(fun() ->
        ok = Module:work(10),
        maps:get(events, spoor:status(Session)) >= 12
    end),
    3 = Module:a(1, 2),
    All = [Session | Named],
    [spoor_leftovers:eventually(fun() -> reloads(Path) =:= 1 end) || #{path := Path} <- All],
    %% Told once, not each second.
    timer:sleep(1200),
    [#{path := Path} | _] = [stop(S) || S <- All],
    ?assertMatch(#{{Module, a, 2} := 1}, maps:from_list(spoor_reading:counts(Path))),
    [?assertEqual(1, reloads(P)) || #{path := P} <- All],
    unload(Module).

%% Who asked for every module gets those that come later too.
modules_loaded_later_are_traced_where_all_are(Config) ->
    Module = scratch_module(spoor_scratch_4, Config),
    unload(Module),
    [
        begin
            {ok, Session} = start({'_', '_', '_'}, Procs, Config, #{force => true, set_on_spawn => false}),
            Rounds = [reload_and_work(Module, N) || N <- lists:seq(1, 3)],
            #{path := Path} = stop(Session),
            ?assertMatch(#{{Module, work, 1} := 33}, maps:from_list(spoor_reading:counts(Path))),
            ?assertEqual([ok, ok, ok], Rounds),
            %% From here on nothing is traced that is loaded.
            ok = reload_and_work(Module, 4),
            spoor_leftovers:assert_untraced([{Module, work, 1}, {lists, seq, 2}]),
            ?assertEqual({traced, false}, erlang:trace_info(on_load, traced)),
            ?assertNot(is_process_alive(maps:get(pid, Session))),
            spoor_leftovers:assert_none(Path)
        end
     || Procs <- [[self()], all]
    ],
    unload(Module).

somebody_traces_what_is_loaded_later(Config) ->
    0 = erlang:trace_pattern(on_load, true, [local]),
    Options = #{force => true, set_on_spawn => false},
    case {spoor_leftovers:is_session_vm(), start({'_', '_', '_'}, [self()], Config, Options)} of
        {true, {ok, Session}} -> stop(Session);
        {false, Answer} -> ?assertEqual({error, {tracer_conflict, [on_load]}}, Answer)
    end,
    ?assertEqual({traced, local}, erlang:trace_info(on_load, traced)),
    0 = erlang:trace_pattern(on_load, false, [local]).

%% From the same place.
a_recording_goes_on_when_spoor_is_loaded_again(Config) ->
    Module = scratch_module(spoor_scratch_5, Config),
    {ok, Session} = start(Module, [self()], Config, #{set_on_spawn => false}),
    ok = Module:work(10),
    ok = load_again(),
    ok = Module:work(10),
    #{events := 24, stop_reason := <<"stopped">>} = stop(Session),
    unload(Module).

%% A library from another place, as a release that is upgraded has it, knows nothing of the
%% recordings of the one before.
an_upgrade_of_spoor_ends_its_recordings(Config) ->
    Module = scratch_module(spoor_scratch_6, Config),
    {ok, Session} = start(Module, [self()], Config, #{set_on_spawn => false}),
    {ok, Other} = spoor:open(#{dir => ?config(dir, Config), ring => <<"2MiB">>}),
    ok = Module:work(10),
    Before = application:get_env(spoor, nif_path),
    Library = filename:join(?config(priv_dir, Config), "upgraded.so"),
    {ok, _} = file:copy(filename:join([code:priv_dir(spoor), "native", "spoor_tracer.so"]), Library),
    ok = application:set_env(spoor, nif_path, Library),
    ok = load_again(),
    ok = Module:work(10),
    %% At once, or when it is known; and never that there was nothing.
    #{events := 12} = spoor:status(Session),
    Reason = <<"Spoor was upgraded">>,
    {ok, #{events := 12, stop_reason := Reason, path := Path, text := Text}} = spoor:stop(Session),
    {match, _} = re:run(Text, Reason),
    #{<<"reason">> := Reason} = spoor_reading:json("info", [Path]),
    ?assertMatch(#{stop_reason := Reason, phase := stopped}, spoor:status(Session)),
    ?assertMatch({ok, #{events := 0, stop_reason := Reason}}, spoor:stop(Other)),
    spoor_leftovers:assert_untraced([{Module, work, 1}]),
    spoor_leftovers:assert_none(Path),
    %% The new one records.
    {ok, New} = start(Module, [self()], Config, #{set_on_spawn => false}),
    ok = Module:work(10),
    ok =
        case Before of
            {ok, Path0} -> application:set_env(spoor, nif_path, Path0);
            undefined -> application:unset_env(spoor, nif_path)
        end,
    ok = load_again(),
    {ok, #{events := 12, stop_reason := Reason}} = spoor:stop(New),
    unload(Module).

load_again() ->
    _ = code:purge(spoor_tracer),
    {module, spoor_tracer} = code:load_file(spoor_tracer),
    ok.

reload_and_work(Module, _Nth) ->
    _ = code:purge(Module),
    {module, Module} = code:load_file(Module),
    Module:work(10).

reloads(Path) ->
    {ok, Bytes} = file:read_file(Path),
    length(binary:matches(Bytes, <<"reloaded">>)).

scratch_module(Module, Config) -> scratch_module(Module, Config, "", ["work/1"]).

scratch_module(Module, Config, More, Exported) ->
    Dir = ?config(priv_dir, Config),
    Source = filename:join(Dir, atom_to_list(Module) ++ ".erl"),
    Text = [
        "-module(", atom_to_list(Module), ").\n-export([", lists:join(", ", Exported), "]).\n", More,
        "work(0) -> ok;\nwork(N) -> ?MODULE:work(N - 1).\n"
    ],
    ok = file:write_file(Source, Text),
    {ok, Module} = compile:file(Source, [{outdir, Dir}]),
    true = code:add_pathz(Dir),
    _ = code:purge(Module),
    {module, Module} = code:load_file(Module),
    Module.

unload(Module) ->
    _ = code:purge(Module),
    true = code:delete(Module),
    _ = code:purge(Module),
    ok.
