%% @doc What one traced call takes at worst: quantiles of single calls, the
%% machine quiet and with a disk writer beside.
%%
%% Blocks of calls alternate between the variants, so all see the same minute.
-module(bench_tail).

-export([measure/1]).

-define(BLOCK, 50_000).
%% Widths of the histogram's steps: 16 ns up to 32 us, 2 us up to 4 ms.
-define(FINE, 2048).
-define(COARSE, 2048).

-spec measure(map()) -> ok.
measure(#{out := Out, place := Place, quick := Quick}) ->
    Blocks = case Quick of true -> 2; false -> 20 end,
    Variants = [bench_variants:open(Name, Place) || Name <- [untraced, empty, spoor, spoor_disk]],
    under(Out, "quiet", Variants, Blocks),
    Writer = start_writer(Place),
    under(Out, "disk_writer", Variants, Blocks),
    stop_writer(Writer, Place),
    lists:foreach(fun close/1, Variants).

under(Out, Condition, Variants, Blocks) ->
    Histograms = [{Variant, counters:new(?FINE + ?COARSE + 1, [])} || Variant <- Variants],
    _ = block(hd(Variants), counters:new(?FINE + ?COARSE + 1, [])),
    lists:foreach(
        fun(_) -> lists:foreach(fun({Variant, Histogram}) -> block(Variant, Histogram) end, Histograms) end,
        lists:seq(1, Blocks)
    ),
    lists:foreach(fun({Variant, Histogram}) -> tell(Out, Condition, Variant, Histogram) end, Histograms).

block(Variant, Histogram) ->
    Pattern = {bench_work, leaf, 1},
    Traced = maps:get(name, Variant) =/= untraced,
    Traced andalso erlang:trace_pattern(Pattern, true, [local]),
    Probe = fun() ->
        receive
            go -> probe(?BLOCK, Histogram)
        end
    end,
    {Pid, Monitor} = spawn_opt(Probe, [monitor, {scheduler, 1}, {min_heap_size, 500_000}]),
    bench_variants:trace(Variant, Pid, [call, arity]),
    Pid ! go,
    receive
        {'DOWN', Monitor, process, Pid, normal} -> ok
    after 60_000 -> exit(probe_too_slow)
    end,
    erlang:trace_pattern(Pattern, false, [local]),
    ok.

probe(0, _) ->
    ok;
probe(Left, Histogram) ->
    Began = os:perf_counter(),
    bench_work:leaf(0),
    Took = os:perf_counter() - Began,
    counters:add(Histogram, step(Took), 1),
    probe(Left - 1, Histogram).

step(Took) when Took < ?FINE * 16 -> max(0, Took) bsr 4 + 1;
step(Took) -> min(?FINE + ?COARSE, ?FINE + Took bsr 11) + 1.

%% The upper end of a step.
nanos(Step) when Step =< ?FINE -> Step * 16;
nanos(Step) -> (Step - ?FINE) * 2048.

tell(Out, Condition, #{name := Name}, Histogram) ->
    Counts = [{Step, counters:get(Histogram, Step)} || Step <- lists:seq(1, ?FINE + ?COARSE + 1)],
    Total = lists:sum([Count || {_, Count} <- Counts]),
    Quantiles = [integer_to_list(quantile(Share * Total, Counts)) || Share <- [0.5, 0.99, 0.999, 0.9999]],
    Fields = ["tail", Condition, atom_to_list(Name), integer_to_list(Total) | Quantiles],
    ok = file:write(Out, [lists:join($\t, Fields), $\n]).

quantile(Rank, [{Step, Count} | _]) when Rank =< Count -> nanos(Step);
quantile(_, [{Step, _}]) -> nanos(Step);
quantile(Rank, [{_, Count} | Counts]) -> quantile(Rank - Count, Counts).

%% Writes at most 8 GiB, in its own process that ends with the port.
start_writer(#{disk := Dir}) ->
    Arguments = ["if=/dev/zero", "of=" ++ filename:join(Dir, "ballast"), "bs=1M", "count=8192", "status=none"],
    Port = open_port({spawn_executable, os:find_executable("dd")}, [{args, Arguments}, exit_status]),
    timer:sleep(1000),
    Port.

stop_writer(Port, #{disk := Dir}) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> os:cmd("kill -9 " ++ integer_to_list(Pid));
        undefined -> ok
    end,
    catch port_close(Port),
    ok = file:delete(filename:join(Dir, "ballast")).

close(Variant) ->
    case bench_variants:close(Variant) of
        {file, Path, _} -> ok = file:delete(Path);
        none -> ok
    end.
