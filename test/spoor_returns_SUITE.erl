%% @doc Durations told by `return_to' alone are those that `return_from' tells of the same calls.
%%
%% OTP's compiler recurs, ends with tail calls, and calls through functions that are not traced, in
%% all ways there are. It is recorded with both kinds of events; the recording is then read as if only
%% `return_to' had been recorded, which is what Spoor records unless asked for more.
-module(spoor_returns_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([the_slowest_calls_took_as_long_as_they_say/1]).

-define(MODULES, [lists, ordsets, orddict, gb_sets, erl_lint]).
%% Functions that are looked at, and calls of each.
-define(FUNCTIONS, 60).
-define(SLOWEST, "20").

all() ->
    [the_slowest_calls_took_as_long_as_they_say].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    lists:foreach(fun(M) -> {module, M} = code:ensure_loaded(M) end, ?MODULES),
    _ = compiled(),
    Config.

end_per_suite(_Config) ->
    application:stop(spoor).

end_per_testcase(_Case, _Config) ->
    _ = [erlang:trace_pattern({M, '_', '_'}, false, [local]) || M <- ?MODULES],
    _ = spoor:stop(),
    ok.

%% ---- cases ----------------------------------------------------------------------

the_slowest_calls_took_as_long_as_they_say(Config) ->
    Path = recorded(Config),
    Lines = spoor_reading:json_lines("dump", [Path | kinds(["call", "return_to", "return_from", "exception_from"])]),
    Ends = ends(Lines),
    #{<<"functions">> := Functions} = spoor_reading:json("calls", [Path, "--limit", integer_to_list(?FUNCTIONS) | returns()]),
    Told = [{Mfa, Call} || #{<<"function">> := Mfa} <- Functions, Call <- slowest(Mfa, Path)],
    Right = fun(At, Took) -> lists:any(fun(End) -> near(At, Took, End) end, maps:get(At, Ends)) end,
    Wrong = [{Mfa, At, Took, maps:get(At, Ends)} || {Mfa, {At, Took}} <- Told, not Right(At, Took)],
    ct:pal("~b calls in all; of the ~b slowest of ~b functions, as told by return_to alone, ~b are wrong: ~p",
        [maps:size(Ends), length(Told), length(Functions), length(Wrong), Wrong]),
    ?assert(length(Told) > 200),
    %% At a function's first recursion nobody can know yet whether it goes on.
    ?assert(length(Wrong) * 100 =< length(Told)).

slowest(Function, Path) ->
    #{<<"calls">> := Calls} = spoor_reading:json("slow", [Function, Path, "-n", ?SLOWEST | returns()]),
    [{At, Took} || #{<<"at_ns">> := At, <<"duration_ns">> := Took} <- Calls].

returns() ->
    kinds(["call", "return_to"]).

kinds(Kinds) ->
    lists:append([["-k", Kind] || Kind <- Kinds]).

%% Within the bar, or what a busy machine puts between two events of one return.
near(At, Took, End) ->
    abs(At + Took - End) =< max(20_000, (End - At) div 20).

%% ---- what the VM says -------------------------------------------------------------

event(#{<<"at_ns">> := At, <<"kind">> := Kind, <<"fields">> := Fields}) ->
    {At, Kind, maps:get(<<"function">>, Fields, undefined)}.

%% By the time at which it began, which no two share: when each call ended, by its own event and by the `return_to' after it.
ends(Lines) ->
    Of = fun(#{<<"process">> := Process} = Line, Processes) ->
        Before = maps:get(Process, Processes, {#{}, [], []}),
        Processes#{Process => ended(event(Line), Before)}
    end,
    Each = maps:values(lists:foldl(Of, #{}, Lines)),
    lists:foldl(fun({Ends, _, _}, All) -> maps:merge(All, Ends) end, #{}, Each).

ended({At, <<"call">>, Function}, {Ends, Open, _Returning}) ->
    {Ends, [{Function, At} | Open], []};
ended({At, <<"return_to">>, _}, {Ends, Open, Returning}) ->
    {lists:foldl(fun(Began, All) -> maps:update_with(Began, fun(Is) -> [At | Is] end, All) end, Ends, Returning), Open, []};
ended({At, _, Function}, {Ends, [{Function, Began} | Open], Returning}) ->
    {Ends#{Began => [At]}, Open, [Began | Returning]}.

%% ---- the recording ------------------------------------------------------------------

recorded(Config) ->
    {ok, Session} = spoor:open(#{dir => ?config(priv_dir, Config), ring => "128MiB", link => false}),
    {spoor_tracer, State} = spoor:tracer(Session),
    Flags = [call, return_to, arity, set_on_spawn, {tracer, spoor_tracer, State}],
    Run = fun() ->
        receive
            go -> exit(compiled())
        end
    end,
    {Worker, Monitor} = spawn_monitor(Run),
    _ = [erlang:trace_pattern({M, '_', '_'}, [{'_', [], [{exception_trace}]}], [local]) || M <- ?MODULES],
    1 = erlang:trace(Worker, true, Flags),
    Worker ! go,
    receive
        {'DOWN', Monitor, process, Worker, Reason} -> ?assertEqual(done, Reason)
    end,
    {ok, #{path := Path, dropped := Dropped}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    Path.

%% This very file, by OTP's compiler.
compiled() ->
    {ok, Forms} = epp:parse_file(source(), []),
    {ok, ?MODULE, _} = compile:forms(Forms, [binary]),
    done.

source() ->
    proplists:get_value(source, ?MODULE:module_info(compile)).
