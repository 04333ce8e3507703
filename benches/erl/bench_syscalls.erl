%% @doc Runs traced calls between two marks that strace can see: a datagram,
%% which the VM sends on the scheduler that runs the process.
-module(bench_syscalls).

-export([main/0]).

-define(FIB, 24).

%% @doc The command line: `strace … erl … -s bench_syscalls main -extra DIR'.
%% Prints the variants in the order of their marks, with the calls of each.
-spec main() -> no_return().
main() ->
    [Dir] = init:get_plain_arguments(),
    Place = #{shm => Dir, disk => Dir, ring => 64 * 1024 * 1024},
    {module, bench_work} = code:ensure_loaded(bench_work),
    lists:foreach(fun(Name) -> variant(Name, Place) end, [untraced, empty, spoor]),
    halt(0).

variant(Name, Place) ->
    Variant = bench_variants:open(Name, Place),
    Name =:= untraced orelse erlang:trace_pattern({bench_work, fib, 1}, true, [local]),
    {Pid, Monitor} = spawn_opt(fun marked/0, [monitor, {scheduler, 1}, {min_heap_size, 200_000}]),
    bench_variants:trace(Variant, Pid, [call, return_to, arity]),
    Pid ! go,
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok
    end,
    erlang:trace_pattern({bench_work, fib, 1}, false, [local]),
    Stored = bench_variants:stored(Variant),
    case bench_variants:close(Variant) of
        {file, Path, _} -> ok = file:delete(Path);
        none -> ok
    end,
    io:format("~s\t~b\t~p~n", [Name, 2 * bench_work:calls_of_fib(?FIB), Stored]).

marked() ->
    receive
        go -> ok
    end,
    % The first event of a thread makes its lane.
    _ = bench_work:fib(10),
    {ok, Socket} = socket:open(inet, dgram, udp),
    mark(Socket),
    _ = bench_work:fib(?FIB),
    mark(Socket),
    ok = socket:close(Socket).

mark(Socket) ->
    _ = socket:sendto(Socket, <<"spoor mark">>, #{family => inet, addr => loopback, port => 9}),
    ok.
