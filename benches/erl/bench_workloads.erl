%% @doc What is traced, with which flags, and how many events it makes.
%%
%% Everything runs on the schedulers it is bound to, so that a run is the same
%% work in the same place whoever listens. The time is that of the scheduler's
%% thread on its processor, taken by untraced code.
-module(bench_workloads).

-export([all/0, prepare/1, patterns/2, run/2, generated/1]).
-export_type([workload/0]).

-type name() ::
    recursion_call | recursion_return_to | deep | wide | two_call | two_return_to | ping_pong | spawn_storm.
-type workload() :: #{
    name := name(),
    % What one operation is, and how many one run does.
    op := string(),
    ops := pos_integer(),
    flags := [atom()],
    patterns := [{module(), atom(), arity() | '_'}]
}.

-define(FIB, 20).
-define(DEPTH, 5000).
-define(CHAINS, 4).
-define(FUNCTIONS, 1000).
-define(ROUNDS, 20).
-define(CLIENTS, 100).
-define(CALLS, 20).
-define(CHILDREN, 500).
-define(BATCH, 50).
-define(LEAVES, 5).
-define(RETURN_TO, [call, return_to, arity]).

-spec all() -> [workload()].
all() ->
    Fib = bench_work:calls_of_fib(?FIB),
    OfFib = [{bench_work, fib, 1}],
    [
        #{name => recursion_call, op => "call", ops => Fib, flags => [call, arity], patterns => OfFib},
        #{name => recursion_return_to, op => "call", ops => Fib, flags => ?RETURN_TO, patterns => OfFib},
        #{
            name => deep,
            op => "call",
            ops => ?CHAINS * (?DEPTH + 1),
            flags => ?RETURN_TO,
            patterns => [{bench_work, deep, 1}]
        },
        #{
            name => wide,
            op => "call",
            ops => ?ROUNDS * ?FUNCTIONS,
            flags => ?RETURN_TO,
            patterns => [{bench_wide, '_', '_'}]
        },
        #{name => two_call, op => "call on each", ops => Fib, flags => [call, arity], patterns => OfFib},
        #{name => two_return_to, op => "call on each", ops => Fib, flags => ?RETURN_TO, patterns => OfFib},
        #{
            name => ping_pong,
            op => "gen_server call",
            ops => ?CLIENTS * ?CALLS,
            flags => [procs, running, garbage_collection, send, 'receive' | ?RETURN_TO],
            patterns => [{bench_work, '_', '_'}, {bench_server, '_', '_'}]
        },
        #{
            name => spawn_storm,
            op => "process",
            ops => ?CHILDREN,
            flags => [procs, set_on_spawn | ?RETURN_TO],
            patterns => [{bench_work, leaf, 1}]
        }
    ].

%% @doc Loads what is called.
-spec prepare(workload()) -> ok.
prepare(#{patterns := Patterns}) -> lists:foreach(fun({Module, _, _}) -> loaded(Module) end, Patterns).

%% @doc Sets or clears what calls are traced.
-spec patterns(workload(), boolean()) -> ok.
patterns(#{patterns := Patterns}, On) ->
    Set = fun(MFA) -> true = erlang:trace_pattern(MFA, On, [local]) > 0 end,
    lists:foreach(Set, Patterns).

%% @doc Runs it once, with `Trace' called on each process before it begins;
%% nanoseconds.
-spec run(workload(), fun((pid(), [atom()]) -> ok)) -> non_neg_integer().
run(#{name := Name, flags := Flags}, Trace) ->
    TraceOne = fun(Pid) -> Trace(Pid, Flags) end,
    case Name of
        ping_pong -> ping_pong(TraceOne);
        two_call -> on_schedulers([1, 2], work(Name), TraceOne);
        two_return_to -> on_schedulers([1, 2], work(Name), TraceOne);
        _ -> on_schedulers([1], work(Name), TraceOne)
    end.

%% @doc The events of a run whose number is known, by their names in the format.
-spec generated(workload()) -> [{atom(), pos_integer()}].
generated(#{name := recursion_call, ops := Ops}) ->
    [{call, Ops}];
generated(#{name := two_call, ops := Ops}) ->
    [{call, 2 * Ops}];
generated(#{name := two_return_to, ops := Ops}) ->
    [{call, 2 * Ops}, {return_to, 2 * Ops}];
generated(#{name := ping_pong, ops := Ops}) ->
    % Each question and each answer is sent and received once, and so are the
    % word to begin and the word that it is done.
    [{call, 3 * Ops + ?CLIENTS}, {send, 2 * Ops + ?CLIENTS}, {'receive', 2 * Ops + ?CLIENTS}];
generated(#{name := spawn_storm, ops := Ops}) ->
    [{call, Ops * (?LEAVES + 1)}, {return_to, Ops}, {spawn, Ops}, {spawned, Ops}];
generated(#{ops := Ops}) ->
    [{call, Ops}, {return_to, Ops}].

-spec work(name()) -> fun(() -> term()).
work(deep) -> fun() -> [bench_work:deep(?DEPTH) || _ <- lists:seq(1, ?CHAINS)] end;
work(wide) -> fun() -> [bench_wide:all() || _ <- lists:seq(1, ?ROUNDS)] end;
work(spawn_storm) -> fun() -> spawn_storm(?CHILDREN) end;
work(_) -> fun() -> bench_work:fib(?FIB) end.

%% One process on each of the schedulers, all at once; the time of the slowest.
-spec on_schedulers([pos_integer()], fun(() -> term()), fun((pid()) -> ok)) -> non_neg_integer().
on_schedulers(Schedulers, Work, Trace) ->
    Started = [start(Scheduler, Work) || Scheduler <- Schedulers],
    lists:foreach(fun({Pid, _}) -> Trace(Pid) end, Started),
    lists:foreach(fun({Pid, _}) -> Pid ! go end, Started),
    lists:max([time_of(One) || One <- Started]).

-spec start(pos_integer(), fun(() -> term())) -> {pid(), reference()}.
start(Scheduler, Work) ->
    Timed = fun() ->
        receive
            go -> ok
        end,
        Began = bench_empty_tracer:thread_time(),
        _ = Work(),
        exit({time, bench_empty_tracer:thread_time() - Began})
    end,
    spawn_opt(Timed, [monitor, {scheduler, Scheduler}, {min_heap_size, 200_000}]).

-spec time_of({pid(), reference()}) -> non_neg_integer().
time_of({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {time, Time}} -> Time;
        {'DOWN', Monitor, process, Pid, Reason} -> exit({workload_failed, Reason})
    after 60_000 -> exit(workload_too_slow)
    end.

spawn_storm(0) ->
    ok;
spawn_storm(Left) ->
    Self = self(),
    Child = fun() ->
        bench_work:leaf(?LEAVES),
        Self ! done
    end,
    lists:foreach(fun(_) -> spawn_opt(Child, [{scheduler, 1}]) end, lists:seq(1, ?BATCH)),
    lists:foreach(fun(_) -> receive done -> ok end end, lists:seq(1, ?BATCH)),
    spawn_storm(Left - ?BATCH).

%% Clients, server and the one who takes the time are all on one scheduler: what
%% waking another one costs is not the tracer's.
-spec ping_pong(fun((pid()) -> ok)) -> non_neg_integer().
ping_pong(Trace) ->
    {ok, Server} = bench_server:start(),
    Self = self(),
    Collector = fun() ->
        Clients =
            receive
                {go, Pids} -> Pids
            end,
        Began = bench_empty_tracer:thread_time(),
        lists:foreach(fun(Client) -> Client ! {go, self()} end, Clients),
        lists:foreach(fun(_) -> receive done -> ok end end, Clients),
        Self ! {self(), bench_empty_tracer:thread_time() - Began}
    end,
    Taker = spawn_opt(Collector, [{scheduler, 1}]),
    Clients = [spawn_opt(fun() -> client(Server) end, [{scheduler, 1}]) || _ <- lists:seq(1, ?CLIENTS)],
    lists:foreach(Trace, [Server | Clients]),
    Taker ! {go, Clients},
    receive
        {Taker, Time} ->
            exit(Server, kill),
            Time
    after 60_000 -> exit(workload_too_slow)
    end.

client(Server) ->
    receive
        {go, Collector} ->
            bench_work:client_loop(Server, ?CALLS),
            Collector ! done
    end.

-spec loaded(module()) -> ok.
loaded(bench_wide) ->
    case erlang:module_loaded(bench_wide) of
        true -> ok;
        false -> make_wide()
    end;
loaded(Module) ->
    {module, Module} = code:ensure_loaded(Module),
    ok.

%% A module of so many functions; all/0 (one of them) calls the others in turn.
make_wide() ->
    Names = [list_to_atom("f" ++ integer_to_list(N)) || N <- lists:seq(1, ?FUNCTIONS - 1)],
    Function = fun(Name, Body) -> {function, 1, Name, 0, [{clause, 1, [], [], Body}]} end,
    Callers = [{call, 1, {atom, 1, Name}, []} || Name <- Names],
    Forms =
        [
            {attribute, 1, module, bench_wide},
            {attribute, 1, export, [{all, 0}]},
            Function(all, Callers ++ [{atom, 1, done}])
        ] ++ [Function(Name, [{atom, 1, ok}]) || Name <- Names],
    {ok, bench_wide, Binary} = compile:forms(Forms, [no_copt, no_inline]),
    {module, bench_wide} = code:load_binary(bench_wide, "bench_wide", Binary),
    ok.
