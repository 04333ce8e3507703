%% @doc Every event that the VM hands to a tracer is in the file, with its fields,
%% in its order: the tracer module used bare, as `erlang:trace/3', trace
%% sessions, dbg and seq_trace use it.
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
    sequential_trace/1,
    meta_trace/1,
    dbg_tracer/1,
    a_session_of_ones_own/1,
    names_beyond_latin1/1,
    unknown_tags/1,
    long_terms_are_cut_visibly/1,
    large_integers_are_not_printed/1,
    binaries_are_measured_not_copied/1,
    references_as_the_vm_writes_them/1,
    the_same_as_a_tracer_process/1
]).
-export([f/1, g/1, h/1, throws/1, target/0]).

all() ->
    Sessions =
        case has_sessions() of
            true -> [a_session_of_ones_own, the_same_as_a_tracer_process];
            false -> []
        end,
    [
        calls_and_returns, arguments_only_when_asked, returns_and_exceptions_by_match_spec,
        match_spec_messages, life_of_a_process, links_and_names, messages, timeouts,
        garbage_collections, ports, scheduling, sequential_trace, meta_trace, dbg_tracer,
        names_beyond_latin1, unknown_tags, long_terms_are_cut_visibly,
        large_integers_are_not_printed,
        binaries_are_measured_not_copied,
        references_as_the_vm_writes_them
    ] ++ Sessions.

has_sessions() ->
    {module, _} = code:ensure_loaded(erlang),
    _ = code:ensure_loaded(trace),
    erlang:function_exported(trace, session_create, 3).

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    Config.

end_per_suite(_Config) ->
    application:stop(spoor).

init_per_testcase(Case, Config) ->
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [local]),
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [meta]),
    _ = seq_trace:set_system_tracer(false),
    _ = spoor:stop(),
    ok.

%% ---- What is traced ----------------------------------------------------------

f(N) -> [g(N)].
g(N) -> h(N).
h(N) -> N + 1.
throws(N) -> throw({thrown, N}).
target() -> ok.

%% ---- Recording and reading ----------------------------------------------------

open(Config) -> open(Config, #{}).

open(Config, Options) ->
    {ok, Session} = spoor:open(Options#{dir => ?config(dir, Config)}),
    {spoor_tracer, State} = spoor:tracer(Session),
    {Session, {tracer, spoor_tracer, State}}.

%% The events of one process (or port) as `{Kind, Fields}', in order.
close(Session, Who) ->
    Text = list_to_binary(io_lib:format("~w", [Who])),
    [{Kind, Fields} || #{<<"process">> := P, <<"kind">> := Kind, <<"fields">> := Fields} <- close(Session), P =:= Text].

close(Session) ->
    %% Nothing that is still on its way to the tracer is missed.
    timer:sleep(20),
    {ok, #{path := Path, dropped := Dropped}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    {0, _} = spoor_reading:run("info", [Path]),
    spoor_reading:json_lines("dump", [Path]).

%% Traces a new process with these flags while it does the work.
traced(Config, Flags, Work) -> traced(Config, #{}, Flags, Work).

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

kinds(Events) -> [Kind || {Kind, _} <- Events].

functions(Events) -> [{Kind, F} || {Kind, #{<<"function">> := F}} <- Events].

pattern(Mfa, Spec) -> ?assert(erlang:trace_pattern(Mfa, Spec, [local]) > 0).

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

%% ---- Other ways in ---------------------------------------------------------------

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

names_beyond_latin1(Config) ->
    Names = [list_to_atom(N) || N <- ["grün", "日本語", "with space", "новый"]],
    {_, Events} = traced(Config, [procs], fun() ->
        [begin true = register(N, self()), true = unregister(N) end || N <- Names]
    end),
    Read = [Name || {<<"register">>, #{<<"name">> := Name}} <- Events],
    ?assertEqual([unicode:characters_to_binary(atom_to_list(N)) || N <- Names], Read).

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

long_terms_are_cut_visibly(Config) ->
    pattern({?MODULE, h, 1}, true),
    Long = lists:duplicate(10_000, $x),
    Deep = lists:foldl(fun(N, Term) -> {N, Term, #{N => Term}} end, [], lists:seq(1, 12)),
    Work = fun() -> lists:foreach(fun attempt/1, [Long, Deep, list_to_binary(Long), 1 bsl 5000, fun h/1, 1.5, make_ref()]) end,
    {_, Events} = traced(Config, #{args => full, max_term_bytes => 200}, [call], Work),
    Contents = [C || {<<"call">>, #{<<"content">> := C}} <- Events],
    ?assertEqual(7, length(Contents)),
    [?assert(byte_size(C) < 2000) || C <- Contents],
    [?assertNotEqual(nomatch, binary:match(C, <<"…"/utf8>>)) || C <- lists:sublist(Contents, 3)],
    ?assertEqual(<<"[1.5]">>, lists:nth(6, Contents)).

%% A binary that begins within a byte is copied by whoever asks the VM for its
%% bytes: in a callback nobody may.
binaries_are_measured_not_copied(Config) ->
    MiB = 1024 * 1024,
    Whole = <<0:(8 * 64 * MiB)>>,
    <<_:4, Within:(63 * MiB)/binary, _/bits>> = Whole,
    <<_:8, Part:100/binary, _/bits>> = Whole,
    <<_:3, Bits:801/bits, _/bits>> = Whole,
    Values = [<<"short">>, Whole, Part, Within, Bits, <<1:1>>, <<>>],
    Sizes = [5, 64 * MiB, 100, 63 * MiB, 101, 1, 0],
    ok = file:write_file("/proc/self/clear_refs", "5"),
    Before = most_memory(),
    [
        begin
            {_, Exit} = traced(Config, #{ring => <<"2MiB">>}, [procs], fun() -> exit({size, Value}) end),
            {<<"exit">>, #{<<"reason">> := Reason}} = lists:last(Exit),
            ?assertEqual(iolist_to_binary(["{size,", measured(Size), "}"]), Reason)
        end
     || {Value, Size} <- lists:zip(Values, Sizes)
    ],
    %% Not even when arguments are asked for.
    pattern({?MODULE, h, 1}, true),
    {_, Call} = traced(Config, #{args => full, ring => <<"2MiB">>}, [call], fun() -> attempt(Within) end),
    ?assertMatch([{<<"call">>, #{<<"content">> := <<"[(binary of ", _/binary>>}}], Call),
    ?assert(most_memory() - Before < 32 * MiB).

measured(0) -> "(binary)";
measured(Size) -> io_lib:format("(binary of ~b)", [Size]).

%% The most bytes that this VM ever held, since it was last asked to forget.
most_memory() ->
    {ok, Text} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Text, "VmHWM:\\s+(\\d+)", [{capture, all_but_first, binary}]),
    1024 * binary_to_integer(KiB).

%% The VM prints in the square of the size, and all that time nothing else runs.
large_integers_are_not_printed(Config) ->
    pattern({?MODULE, h, 1}, true),
    Larger = [1 bsl 384, 1 bsl 3_000_000],
    Work = fun() -> lists:foreach(fun attempt/1, [1 bsl 383 | Larger]) end,
    {Us, {_, Events}} = timer:tc(fun() -> traced(Config, #{args => full}, [call], Work) end),
    Printed = integer_to_binary(1 bsl 383),
    ?assertEqual(
        [<<"[", Printed/binary, "]">>, <<"[…]"/utf8>>, <<"[…]"/utf8>>],
        [C || {<<"call">>, #{<<"content">> := C}} <- Events]
    ),
    ?assert(Us < 10_000_000).

%% Ordinary ones and aliases are read in place, others printed: more than once,
%% as the layout of aliases is learned from the first.
references_as_the_vm_writes_them(Config) ->
    Alias = fun() -> erlang:monitor(process, self(), [{alias, explicit_unalias}]) end,
    References =
        [make_ref(), Alias(), Alias(), make_ref(), ets:new(table, []), atomics:new(1, []), Alias(), make_ref()],
    {_, Events} = traced(Config, [procs], fun() -> exit({list_to_tuple(References)}) end),
    [#{<<"reason">> := Reason}] = [Fields || {<<"exit">>, Fields} <- Events],
    {match, Found} = re:run(Reason, "#Ref<[0-9.]+>", [global, {capture, first, list}]),
    ?assertEqual([ref_to_list(R) || R <- References], [F || [F] <- Found]).

attempt(Term) ->
    try
        h(Term)
    catch
        error:badarith -> ok
    end.

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
