%% @doc Leaves a recording of each workload behind, beside what must be in it,
%% and tells what memory recording took.
-module(bench_events).

-export([check/1]).

-spec check(map()) -> ok.
check(#{out := Out, place := #{disk := Dir}, quick := Quick}) ->
    Runs = case Quick of true -> 2; false -> 10 end,
    lists:foreach(fun(Workload) -> record(Out, Dir, Workload, Runs) end, bench_workloads:all()),
    memory(Out, Dir).

record(Out, Dir, #{name := Name} = Workload, Runs) ->
    Place = #{shm => Dir, disk => Dir, ring => 32 * 1024 * 1024},
    Variant = bench_variants:open(spoor_disk, Place),
    bench_workloads:patterns(Workload, true),
    Trace = fun(Pid, Flags) -> bench_variants:trace(Variant, Pid, Flags) end,
    lists:foreach(fun(_) -> bench_workloads:run(Workload, Trace) end, lists:seq(1, Runs)),
    bench_workloads:patterns(Workload, false),
    % The last tracees are told to be done before they are: let them end.
    timer:sleep(50),
    {file, Path, #{events := Events, dropped := Dropped, overwritten := Overwritten}} = bench_variants:close(Variant),
    Target = filename:join(Dir, atom_to_list(Name) ++ ".spoor"),
    ok = file:rename(Path, Target),
    Must = [[atom_to_list(Kind), $=, integer_to_list(Runs * Count)] || {Kind, Count} <- bench_workloads:generated(Workload)],
    Lost = lists:sum(maps:values(Dropped)) + Overwritten,
    Fields = ["generated", atom_to_list(Name), integer_to_list(Events), integer_to_list(Lost), lists:join($ , Must)],
    ok = file:write(Out, [lists:join($\t, Fields), $\n]).

%% What recording takes beyond the file: private memory, before and after some
%% million events, the ring turning many times.
memory(Out, Dir) ->
    [#{name := recursion_return_to} = Workload] =
        [W || #{name := recursion_return_to} = W <- bench_workloads:all()],
    Empty = bench_variants:open(empty, #{shm => Dir, disk => Dir, ring => 0}),
    bench_workloads:patterns(Workload, true),
    Times = fun(Variant, N) ->
        Trace = fun(Pid, Flags) -> bench_variants:trace(Variant, Pid, Flags) end,
        lists:foreach(fun(_) -> bench_workloads:run(Workload, Trace) end, lists:seq(1, N)),
        timer:sleep(100),
        lists:min([private_kib() || _ <- lists:seq(1, 5)])
    end,
    Before = Times(Empty, 20),
    Variant = bench_variants:open(spoor_disk, #{shm => Dir, disk => Dir, ring => 4 * 1024 * 1024}),
    Soon = Times(Variant, 20),
    Later = Times(Variant, 80),
    bench_workloads:patterns(Workload, false),
    {file, Path, #{events := Events}} = bench_variants:close(Variant),
    ok = file:delete(Path),
    Fields = ["memory" | [integer_to_list(N) || N <- [Before, Soon, Later, Events]]],
    ok = file:write(Out, [lists:join($\t, Fields), $\n]).

private_kib() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "RssAnon:\\s*(\\d+) kB", [{capture, [1], list}]),
    list_to_integer(KiB).
