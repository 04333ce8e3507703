%% @doc The tracer module as sequential tracing, meta tracing, dbg and trace sessions use it.
-module(spoor_ways_in_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    sequential_trace/1,
    meta_trace/1,
    dbg_tracer/1,
    a_session_of_ones_own/1
]).
-export([h/1]).

-import(spoor_bare, [open/1, close/1, close/2, kinds/1, functions/1]).

all() ->
    [
        sequential_trace,
        meta_trace,
        dbg_tracer
    ] ++ [a_session_of_ones_own || spoor_leftovers:is_session_vm()].

init_per_suite(Config) -> spoor_bare:begun(Config).

end_per_suite(_Config) -> application:stop(spoor).

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_bare:nothing_traced().

h(N) -> N + 1.

sequential_trace(Config) ->
    {Session, {tracer, Module, State}} = open(Config),
    _ = seq_trace:set_system_tracer({Module, State}),
    _ = seq_trace:set_token(label, 17),
    _ = seq_trace:set_token(print, true),
    _ = seq_trace:set_token(send, true),
    _ = seq_trace:print(17, hello),
    Echo = spawn(fun() -> receive {From, X} -> From ! X end end),
    Echo ! {self(), back},
    receive back -> ok end,
    _ = seq_trace:set_token([]),
    _ = seq_trace:set_system_tracer(false),
    Events = [{maps:get(<<"kind">>, F), F} || #{<<"kind">> := <<"seq_trace">>, <<"fields">> := F} <- close(Session)],
    %% A spawn is a request and a reply.
    ?assertEqual([<<"print">>, <<"send">>, <<"send">>, <<"send">>, <<"send">>], kinds(Events)),
    ?assertMatch({_, #{<<"label">> := <<"17">>, <<"previous">> := 0, <<"current">> := 1}}, hd(Events)),
    Self = list_to_binary(pid_to_list(self())),
    EchoText = list_to_binary(pid_to_list(Echo)),
    ?assertMatch({_, #{<<"from">> := Self, <<"to">> := EchoText}}, lists:nth(4, Events)),
    ?assertMatch({_, #{<<"from">> := EchoText, <<"to">> := Self}}, lists:nth(5, Events)).

meta_trace(Config) ->
    {Session, {tracer, Module, State}} = open(Config),
    1 = erlang:trace_pattern({?MODULE, h, 1}, true, [{meta, Module, State}]),
    _ = [h(1)],
    _ = erlang:trace_pattern({?MODULE, h, 1}, false, [meta]),
    ?assertEqual([{<<"call">>, <<?MODULE_STRING, ":h/1">>}], functions(close(Session, self()))).

dbg_tracer(Config) ->
    {Session, {tracer, Module, State}} = open(Config),
    {ok, _} = dbg:tracer(module, {Module, State}),
    Pid = spawn(fun() -> receive go -> _ = [h(1)], ok end end),
    {ok, _} = dbg:p(Pid, [c]),
    {ok, _} = dbg:tpl(?MODULE, h, 1, []),
    Pid ! go,
    timer:sleep(50),
    stop_dbg(),
    ?assertEqual([{<<"call">>, <<?MODULE_STRING, ":h/1">>}], functions(close(Session, Pid))).

%% OTP 27 ends and clears by stop/0; before, that is stop_clear/0.
stop_dbg() ->
    case erlang:function_exported(dbg, stop_clear, 0) of
        true -> apply(dbg, stop_clear, []);
        false -> dbg:stop()
    end.

a_session_of_ones_own(Config) ->
    {Session, {tracer, Module, State}} = open(Config),
    Mine = trace:session_create(spoor_events, {Module, State}, []),
    Self = self(),
    Pid = spawn(fun() -> receive go -> _ = [h(1)], Self ! done end end),
    1 = trace:function(Mine, {?MODULE, h, 1}, true, [local]),
    1 = trace:process(Mine, Pid, true, [call, return_to, arity, send]),
    Pid ! go,
    receive done -> ok end,
    timer:sleep(20),
    true = trace:session_destroy(Mine),
    ?assertMatch([<<"call">>, <<"return_to">>, <<"send">>], kinds(close(Session, Pid))).
