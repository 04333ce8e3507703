%% @doc The tracer module used bare, as `erlang:trace/3' and others use it, and what is then
%% in the file, for the suites.
-module(spoor_bare).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([begun/1, nothing_traced/0]).
-export([open/1, open/2, close/1, close/2, traced/3, traced/4, kinds/1, functions/1, pattern/2]).

-type event() :: {Kind :: binary(), Fields :: #{binary() => term()}}.

-spec begun(Config) -> Config.
begun(Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    Config.

%% @doc A case leaves no breakpoint, tracer or recording behind.
-spec nothing_traced() -> ok.
nothing_traced() ->
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [local]),
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [meta]),
    _ = seq_trace:set_system_tracer(false),
    _ = spoor:stop(),
    ok.

%% @doc A recording, and the tracer to give to the VM.
-spec open(list()) -> {map(), {tracer, module(), term()}}.
open(Config) -> open(Config, #{}).

-spec open(list(), map()) -> {map(), {tracer, module(), term()}}.
open(Config, Options) ->
    {ok, Session} = spoor:open(Options#{dir => ?config(dir, Config)}),
    {spoor_tracer, State} = spoor:tracer(Session),
    {Session, {tracer, spoor_tracer, State}}.

%% @doc The events of one process (or port) as `{Kind, Fields}', in order.
-spec close(map(), pid() | port()) -> [event()].
close(Session, Who) ->
    Text = list_to_binary(io_lib:format("~w", [Who])),
    [{Kind, Fields} || #{<<"process">> := P, <<"kind">> := Kind, <<"fields">> := Fields} <- close(Session), P =:= Text].

%% @doc Those of all, as `spoor dump' tells them.
-spec close(map()) -> [map()].
close(Session) ->
    %% Nothing that is still on its way to the tracer is missed.
    timer:sleep(20),
    {ok, #{path := Path, dropped := Dropped}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    {0, _} = spoor_reading:run("info", [Path]),
    spoor_reading:json_lines("dump", [Path]).

%% @doc Traces a new process with these flags while it does the work.
-spec traced(list(), [atom()], fun(() -> term())) -> {pid(), [event()]}.
traced(Config, Flags, Work) -> traced(Config, #{}, Flags, Work).

-spec traced(list(), map(), [atom()], fun(() -> term())) -> {pid(), [event()]}.
traced(Config, Options, Flags, Work) ->
    {Session, Tracer} = open(Config, Options),
    {Pid, Monitor} = spawn_monitor(fun() ->
        receive
            go -> Work()
        end
    end),
    1 = erlang:trace(Pid, true, [Tracer | Flags]),
    Pid ! go,
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end,
    {Pid, close(Session, Pid)}.

-spec kinds([event()]) -> [binary()].
kinds(Events) -> [Kind || {Kind, _} <- Events].

-spec functions([event()]) -> [{binary(), binary()}].
functions(Events) -> [{Kind, F} || {Kind, #{<<"function">> := F}} <- Events].

%% @doc A breakpoint on these functions, for tracing of local calls.
-spec pattern(mfa(), true | list()) -> ok.
pattern(Mfa, Spec) -> ?assert(erlang:trace_pattern(Mfa, Spec, [local]) > 0).
