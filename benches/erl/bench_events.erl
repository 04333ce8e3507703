%% @doc Leaves a recording of each workload behind, beside what must be in it.
-module(bench_events).

-export([check/1]).

-spec check(map()) -> ok.
check(#{out := Out, place := #{disk := Dir}, quick := Quick}) ->
    Runs = case Quick of true -> 2; false -> 10 end,
    lists:foreach(fun(Workload) -> record(Out, Dir, Workload, Runs) end, bench_workloads:all()).

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
