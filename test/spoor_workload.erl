%% @doc Work whose calls can be counted exactly: what a profiler finds hard, in
%% small. Each function of {@link all/0} does one kind of it and leaves nothing
%% running; the suites record it and compare.
-module(spoor_workload).

-export([all/0, run/1, quick/0]).
-export([recursion/0, tail_calls/0, funs/0, exceptions/0, processes/0, dirty/0, ports/0, spawn_storm/0, servers/0]).
-export([fib/1, down/2, double/1, thrower/1, uncaught/1, child/2, leaf/1, init/1, handle_call/3, handle_cast/2]).

%% @doc The kinds of work.
-spec all() -> [atom()].
all() ->
    [recursion, tail_calls, funs, exceptions, processes, dirty, ports, spawn_storm, servers].

%% @doc Does one kind of work, in a process of its own, and waits for its end.
-spec run(atom()) -> ok.
run(Kind) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, Kind, []),
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok;
        {'DOWN', Monitor, process, Pid, Why} -> error({Kind, Why})
    end.

%% @doc A little of everything that is quick.
-spec quick() -> ok.
quick() ->
    recursion(),
    tail_calls(),
    funs(),
    exceptions().

-spec recursion() -> ok.
recursion() ->
    610 = fib(15),
    ok.

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

-spec tail_calls() -> ok.
tail_calls() -> down(20_000, 0).

down(0, _) -> ok;
down(N, Sum) -> down(N - 1, Sum + N).

-spec funs() -> ok.
funs() ->
    Offset = 3,
    Doubled = lists:map(fun(N) -> double(N) + Offset end, lists:seq(1, 500)),
    500 = length([leaf(D) || D <- Doubled]),
    ok.

double(N) -> N * 2.
leaf(N) -> {N}.

-spec exceptions() -> ok.
exceptions() ->
    [caught(Class, N) || Class <- [throw, error, exit], N <- lists:seq(1, 50)],
    {Pid, Monitor} = spawn_monitor(?MODULE, uncaught, [7]),
    receive
        {'DOWN', Monitor, process, Pid, {done, 0}} -> ok
    end.

caught(Class, N) ->
    try thrower({Class, N}) of
        _ -> error(unexpected)
    catch
        Class:{deep, 0} -> ok
    end.

%% Not tail recursive: the exception drops N frames.
thrower({Class, 0}) -> erlang:raise(Class, {deep, 0}, []);
thrower({Class, N}) -> [thrower({Class, N - 1})].

uncaught(0) -> exit({done, 0});
uncaught(N) -> [uncaught(N - 1)].

-spec processes() -> ok.
processes() ->
    Children = [spawn_monitor(?MODULE, child, [self(), N]) || N <- lists:seq(1, 50)],
    lists:foreach(fun({Pid, _}) -> Pid ! {self(), 20} end, Children),
    lists:foreach(
        fun({Pid, Monitor}) ->
            receive
                {'DOWN', Monitor, process, Pid, normal} -> ok
            end
        end,
        Children
    ).

child(Parent, N) ->
    receive
        {Parent, Times} -> [leaf(X * N) || X <- lists:seq(1, Times)]
    end,
    ok.

%% Natively implemented functions on dirty schedulers, I/O and CPU.
-spec dirty() -> ok.
dirty() ->
    {ok, Cwd} = file:get_cwd(),
    [{ok, _} = file:read_file_info(Cwd, [raw]) || _ <- lists:seq(1, 100)],
    Text = binary:copy(<<"spoor">>, 20_000),
    [Text = zlib:uncompress(zlib:compress(Text)) || _ <- lists:seq(1, 20)],
    ok.

-spec ports() -> ok.
ports() ->
    Port = open_port({spawn, "cat"}, [binary]),
    [echo(Port, integer_to_binary(N)) || N <- lists:seq(1, 50)],
    true = port_close(Port),
    ok.

echo(Port, Text) ->
    true = port_command(Port, Text),
    receive
        {Port, {data, Text}} -> leaf(Text)
    end.

-spec spawn_storm() -> ok.
spawn_storm() ->
    Self = self(),
    Number = 5_000,
    [spawn(fun() -> Self ! leaf(N) end) || N <- lists:seq(1, Number)],
    lists:foreach(
        fun(N) ->
            receive
                {N} -> ok
            end
        end,
        lists:seq(1, Number)
    ).

-spec servers() -> ok.
servers() ->
    {ok, Pid} = gen_server:start(?MODULE, [], []),
    [{reply, N} = gen_server:call(Pid, {add, N}) || N <- lists:seq(1, 200)],
    ok = gen_server:cast(Pid, forget),
    ok = gen_server:stop(Pid).

init([]) -> {ok, none}.
handle_call({add, N}, _From, State) -> {reply, {reply, N}, State}.
handle_cast(forget, State) -> {noreply, State}.
