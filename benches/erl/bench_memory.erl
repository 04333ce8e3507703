%% @doc What memory recording takes beyond its file, over a long time.
%%
%% One node for each variant, all doing the same: messages between processes and
%% processes that come and go, with everything traced. Told each second is the private memory
%% of the node; a ring's pages are the file's and not in it.
-module(bench_memory).

-export([main/0]).

%% @doc The command line: `erl … -s bench_memory main -extra VARIANT SECONDS DIR OUT'.
-spec main() -> no_return().
main() ->
    [Name, Seconds, Dir, File] = init:get_plain_arguments(),
    {ok, Out} = file:open(File, [write, raw, binary]),
    Variant = bench_variants:open(list_to_atom(Name), #{shm => Dir, disk => Dir, ring => 16 * 1024 * 1024}),
    Workloads = [W || #{name := Of} = W <- bench_workloads:all(), lists:member(Of, [ping_pong, spawn_storm])],
    lists:foreach(fun bench_workloads:prepare/1, Workloads),
    lists:foreach(fun(Workload) -> bench_workloads:patterns(Workload, true) end, Workloads),
    Began = erlang:monotonic_time(millisecond),
    lists:foreach(
        fun(Second) ->
            work(Workloads, Variant, Began + 1000 * Second),
            ok = file:write(Out, ["private\t", Name, $\t, integer_to_list(Second), $\t, integer_to_list(private_kib()), $\n])
        end,
        lists:seq(1, list_to_integer(Seconds))
    ),
    Stored = bench_variants:stored(Variant),
    case bench_variants:close(Variant) of
        {file, Path, _} -> ok = file:del_dir_r(Path);
        none -> ok
    end,
    ok = file:write(Out, io_lib:format("stored\t~s\t~0p~n", [Name, Stored])),
    ok = file:close(Out),
    halt(0).

%% Until then, but leaving time for others.
work(Workloads, Variant, Until) ->
    Trace = fun(Pid, Flags) -> bench_variants:trace(Variant, Pid, Flags) end,
    lists:foreach(fun(Workload) -> bench_workloads:run(Workload, Trace) end, Workloads),
    timer:sleep(20),
    case erlang:monotonic_time(millisecond) < Until of
        true -> work(Workloads, Variant, Until);
        false -> ok
    end.

private_kib() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "RssAnon:\\s*(\\d+) kB", [{capture, [1], list}]),
    list_to_integer(KiB).
