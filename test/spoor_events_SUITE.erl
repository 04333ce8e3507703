%% @doc Every event that the VM hands to a tracer is in the file, with its fields,
%% in its order: the tracer module used bare.
-module(spoor_events_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    calls_and_returns/1,
    arguments_only_when_asked/1,
    returns_and_exceptions_by_match_spec/1,
    match_spec_messages/1,
    life_of_a_process/1,
    links_and_names/1,
    messages/1,
    timeouts/1,
    garbage_collections/1,
    ports/1,
    scheduling/1,
    unknown_tags/1,
    the_same_as_a_tracer_process/1
]).
-export([f/1, g/1, h/1, throws/1, target/0]).

-import(spoor_bare, [open/1, close/1, close/2, traced/3, traced/4, kinds/1, functions/1, pattern/2]).

all() ->
    [
        calls_and_returns,
        arguments_only_when_asked,
        returns_and_exceptions_by_match_spec,
        match_spec_messages,
        life_of_a_process,
        links_and_names,
        messages,
        timeouts,
        garbage_collections,
        ports,
        scheduling,
        unknown_tags
    ] ++ [the_same_as_a_tracer_process || spoor_leftovers:is_session_vm()].

init_per_suite(Config) -> spoor_bare:begun(Config).

end_per_suite(_Config) -> application:stop(spoor).

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_bare:nothing_traced().

%% ---- What is traced ----------------------------------------------------------

f(N) -> [g(N)].
g(N) -> h(N).
h(N) -> N + 1.
throws(N) -> throw({thrown, N}).
target() -> ok.

%% ---- Calls ----------------------------------------------------------------------

calls_and_returns(Config) ->
    pattern({?MODULE, f, 1}, true),
    pattern({?MODULE, g, 1}, true),
    pattern({?MODULE, h, 1}, true),
    {_, Events} = traced(Config, [call, return_to, arity], fun() -> [2] = f(1), ok end),
    Name = fun(F) -> <<?MODULE_STRING, ":", F/binary, "/1">> end,
    ?assertMatch(
        [
            {<<"call">>, _}, {<<"call">>, _}, {<<"call">>, _},
            %% One return for a chain of tail calls.
            {<<"return_to">>, <<?MODULE_STRING, ":f/1">>}, {<<"return_to">>, _Caller}
        ],
        functions(Events)
    ),
    [{_, F}, {_, G}, {_, H} | _] = functions(Events),
    ?assertEqual([Name(<<"f">>), Name(<<"g">>), Name(<<"h">>)], [F, G, H]),
    ?assertEqual([], [E || {_, #{<<"content">> := _}} = E <- Events]).

arguments_only_when_asked(Config) ->
    pattern({?MODULE, h, 1}, true),
    Work = fun() -> h(41), ok end,
    {_, [{<<"call">>, Hidden}]} = traced(Config, [call], Work),
    ?assertNot(maps:is_key(<<"content">>, Hidden)),
    {_, [{<<"call">>, Shown}]} = traced(Config, #{args => full}, [call], Work),
    ?assertMatch(#{<<"content">> := <<"[41]">>}, Shown).

returns_and_exceptions_by_match_spec(Config) ->
    pattern({?MODULE, h, 1}, [{'_', [], [{return_trace}]}]),
    pattern({?MODULE, throws, 1}, [{'_', [], [{exception_trace}]}]),
    Work = fun() ->
        _ = [h(1)],
        try throws(5) of
            _ -> ok
        catch
            _ -> ok
        end
    end,
    {_, Events} = traced(Config, #{args => full}, [call, arity], Work),
    ?assertEqual([<<"call">>, <<"return_from">>, <<"call">>, <<"exception_from">>], kinds(Events)),
    [_, {_, Return}, _, {_, Exception}] = Events,
    ?assertMatch(#{<<"content">> := <<"2">>}, Return),
    ?assertMatch(#{<<"class">> := <<"throw">>, <<"content">> := <<"{thrown,5}">>}, Exception).

match_spec_messages(Config) ->
    pattern({?MODULE, h, 1}, [{['$1'], [], [{message, {{said, '$1', {caller}}}}]}]),
    {_, [{<<"call">>, #{<<"match_result">> := Said}}]} = traced(Config, [call, arity], fun() -> _ = [h(3)], ok end),
    ?assertMatch(<<"{said,3,{", _/binary>>, Said).

%% ---- Processes ------------------------------------------------------------------

life_of_a_process(Config) ->
    {Session, Tracer} = open(Config),
    Self = self(),
    {Parent, Monitor} = spawn_monitor(fun() ->
        receive
            go -> Self ! {child, spawn_link(?MODULE, target, [])}
        end,
        receive
            die -> exit({shutdown, <<"secret">>})
        end
    end),
    1 = erlang:trace(Parent, true, [procs, set_on_spawn, Tracer]),
    Parent ! go,
    Child = receive {child, C} -> C end,
    timer:sleep(50),
    Parent ! die,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    Events = close(Session),
    Of = fun(Pid) ->
        Text = list_to_binary(pid_to_list(Pid)),
        [{K, F} || #{<<"process">> := P, <<"kind">> := K, <<"fields">> := F} <- Events, P =:= Text]
    end,
    ChildText = list_to_binary(pid_to_list(Child)),
    ParentText = list_to_binary(pid_to_list(Parent)),
    ?assertMatch(
        [
            {<<"spawn">>, #{<<"child">> := ChildText, <<"function">> := <<?MODULE_STRING, ":target/0">>}},
            {<<"link">>, #{<<"to">> := ChildText}},
            {<<"getting_unlinked">>, #{<<"to">> := ChildText}},
            {<<"exit">>, #{<<"reason">> := _}}
        ],
        Of(Parent)
    ),
    {<<"exit">>, #{<<"reason">> := Reason}} = lists:last(Of(Parent)),
    ?assertEqual(nomatch, binary:match(Reason, <<"secret">>)),
    ?assertMatch(<<"{shutdown,", _/binary>>, Reason),
    ?assertMatch(
        [
            {<<"spawned">>, #{<<"parent">> := ParentText, <<"function">> := <<?MODULE_STRING, ":target/0">>}},
            {<<"getting_linked">>, #{<<"to">> := ParentText}},
            {<<"exit">>, #{<<"reason">> := <<"normal">>}}
        ],
        Of(Child)
    ).

links_and_names(Config) ->
    Other = spawn(fun() -> receive stop -> ok end end),
    {_, Events} = traced(Config, [procs], fun() ->
        true = register(spoor_events_name, self()),
        true = unregister(spoor_events_name),
        true = link(Other),
        true = unlink(Other)
    end),
    Other ! stop,
    OtherText = list_to_binary(pid_to_list(Other)),
    ?assertMatch(
        [
            {<<"register">>, #{<<"name">> := <<"spoor_events_name">>}},
            {<<"unregister">>, #{<<"name">> := <<"spoor_events_name">>}},
            {<<"link">>, #{<<"to">> := OtherText}},
            {<<"unlink">>, #{<<"to">> := OtherText}},
            {<<"exit">>, _}
        ],
        Events
    ).

messages(Config) ->
    Dead = spawn(fun() -> ok end),
    timer:sleep(20),
    Self = self(),
    {_, Events} = traced(Config, #{args => full}, [send, 'receive'], fun() ->
        Self ! {hello, 1},
        Dead ! lost,
        self() ! {to, me},
        receive {to, me} -> ok end
    end),
    receive {hello, 1} -> ok end,
    SelfText = list_to_binary(pid_to_list(Self)),
    DeadText = list_to_binary(pid_to_list(Dead)),
    ?assertMatch(
        [
            {<<"receive">>, #{<<"content">> := <<"go">>}},
            {<<"send">>, #{<<"to">> := SelfText, <<"content">> := <<"{hello,1}">>}},
            {<<"send_to_non_existing_process">>, #{<<"to">> := DeadText, <<"content">> := <<"lost">>}},
            {<<"send">>, #{<<"content">> := <<"{to,me}">>}},
            {<<"receive">>, #{<<"content">> := <<"{to,me}">>}}
        ],
        Events
    ).

timeouts(Config) ->
    {_, Events} = traced(Config, ['receive'], fun() ->
        receive
            never -> ok
        after 5 -> ok
        end
    end),
    ?assertEqual([<<"receive">>, <<"timeout">>], kinds(Events)).

garbage_collections(Config) ->
    {_, Events} = traced(Config, [garbage_collection], fun() ->
        _ = lists:seq(1, 20_000),
        true = erlang:garbage_collect()
    end),
    Kinds = kinds(Events),
    ?assert(lists:member(<<"gc_minor_start">>, Kinds)),
    ?assertEqual([<<"gc_major_start">>, <<"gc_major_end">>], lists:nthtail(length(Kinds) - 2, Kinds)),
    [?assertMatch(#{<<"sizes">> := #{<<"heap_block_size">> := HeapBlock}} when HeapBlock > 0, Fields) || {_, Fields} <- Events].

ports(Config) ->
    {Session, Tracer} = open(Config),
    _ = erlang:trace(new_ports, true, [ports, Tracer]),
    Port = open_port({spawn, "cat"}, []),
    true = register(spoor_events_port, Port),
    true = port_close(Port),
    _ = erlang:trace(new_ports, false, [all]),
    Events = close(Session, Port),
    Self = list_to_binary(pid_to_list(self())),
    ?assertMatch([{<<"open">>, #{<<"caller">> := Self}} | _], Events),
    ?assertEqual([<<"open">>, <<"closed">>], [K || K <- kinds(Events), K =:= <<"open">> orelse K =:= <<"closed">>]),
    ?assert(lists:member({<<"register">>, #{<<"name">> => <<"spoor_events_port">>}}, Events)),
    ?assertMatch({<<"closed">>, #{<<"reason">> := <<"normal">>}}, lists:keyfind(<<"closed">>, 1, Events)).

scheduling(Config) ->
    {_, Events} = traced(Config, [running, exiting, procs], fun() -> timer:sleep(5), timer:sleep(5) end),
    Kinds = kinds(Events),
    In = length([K || K <- Kinds, K =:= <<"in">>]),
    ?assert(In >= 3),
    ?assertEqual(<<"out_exited">>, lists:last(Kinds)),
    ?assert(length([F || {<<"out">>, #{<<"function">> := F}} <- Events, F =/= undefined]) >= 2).

%% ---- All of them -----------------------------------------------------------------

%% As a later VM would call it.
unknown_tags(Config) ->
    {Session, {tracer, Module, State}} = open(Config),
    ok = Module:trace(later_tag, State, self(), {some, <<"term">>}, #{}),
    ok = Module:trace(later_tag, State, self(), 1, #{extra => 2}),
    ?assertMatch(
        [{<<"unknown">>, #{<<"tag">> := <<"later_tag">>}}, {<<"unknown">>, _}],
        close(Session, self())
    ),
    %% Nonsense is no reason to fail either.
    ok = Module:trace(call, not_a_state, self(), {a, b, 1}, #{}),
    ok = Module:trace(call, -1, self(), {a, b, 1}, #{}),
    ok = Module:trace(call, 1 bsl 58, self(), {a, b, 1}, #{}),
    remove = Module:enabled(trace_status, [], self()),
    discard = Module:enabled(call, State, self()).

%% Two sessions see the same process: one writes a file, one tells a process.
the_same_as_a_tracer_process(Config) ->
    {module, spoor_workload} = code:ensure_loaded(spoor_workload),
    {Session, {tracer, Module, State}} = open(Config),
    {Collector, CollectorMonitor} = spawn_monitor(fun collect/0),
    Sessions = [trace:session_create(A, T, []) || {A, T} <- [{spoor_file, {Module, State}}, {spoor_process, Collector}]],
    {Worker, Monitor} = spawn_monitor(fun() ->
        receive
            go -> lists:foreach(fun(K) -> apply(spoor_workload, K, []) end, [recursion, funs, exceptions, processes, servers])
        end
    end),
    Flags = [call, return_to, arity, procs, send, 'receive', set_on_spawn],
    [
        begin
            _ = trace:function(S, {spoor_workload, '_', '_'}, true, [local]),
            1 = trace:process(S, Worker, true, Flags)
        end
     || S <- Sessions
    ],
    Worker ! go,
    receive {'DOWN', Monitor, _, _, normal} -> ok end,
    timer:sleep(100),
    [trace:session_destroy(S) || S <- Sessions],
    Collector ! {stop, self()},
    Told = receive {told, T} -> T end,
    receive {'DOWN', CollectorMonitor, _, _, _} -> ok end,
    Read = [{P, K} || #{<<"process">> := P, <<"kind">> := K} <- close(Session)],
    ?assert(length(Told) > 5_000),
    ?assertEqual(by_process(Told), by_process(Read)).

by_process(Events) ->
    lists:foldl(fun({P, K}, All) -> maps:update_with(P, fun(L) -> [K | L] end, [K], All) end, #{}, Events).

collect() -> collect([]).

collect(Told) ->
    receive
        {stop, From} -> From ! {told, lists:reverse(Told)};
        Message when element(1, Message) =:= trace ->
            Who = list_to_binary(pid_to_list(element(2, Message))),
            collect([{Who, told_kind(Message)} | Told])
    end.

told_kind({trace, _, 'receive', timeout}) -> <<"timeout">>;
told_kind(Message) -> atom_to_binary(element(3, Message)).
