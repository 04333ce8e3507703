%% @doc What one traced call takes at worst: quantiles of single calls, the
%% machine quiet and with a disk writer beside.
%%
%% The variants take turns, a few milliseconds each, so that all see the same moments. So many
%% turns are a period, long enough for a quantile of its own and short enough for the machine
%% to be the same in all of it: ratios are worked out within periods. What is told of single
%% calls is counted over all periods.
-module(bench_tail).

-export([main/0, measure/1]).

%% Calls of a turn, turns of a period: a hundred calls lie beyond p99.99 of a period.
-define(TURN, 20_000).
-define(TURNS, 50).
-define(PERIODS, 12).
%% Widths of the histogram's steps: 16 ns up to 32 us, 2 us up to 4 ms.
-define(FINE, 2048).
-define(COARSE, 2048).
-define(STEPS, (?FINE + ?COARSE + 1)).
-define(SHARES, [0.5, 0.99, 0.999, 0.9999]).

%% @doc The command line: `erl … -s bench_tail main -extra OUT SHM_DIR DISK_DIR'.
-spec main() -> no_return().
main() ->
    [File, Shm, Disk] = init:get_plain_arguments(),
    {ok, Out} = file:open(File, [write, raw, binary]),
    ok = measure(#{out => Out, place => #{shm => Shm, disk => Disk, ring => 64 * 1024 * 1024}, quick => false}),
    ok = file:close(Out),
    halt(0).

-spec measure(map()) -> ok.
measure(#{out := Out, place := Place, quick := Quick}) ->
    Periods = case Quick of true -> 1; false -> ?PERIODS end,
    Variants = [bench_variants:open(Name, Place) || Name <- [untraced, empty, spoor, spoor_disk]],
    under(Out, "quiet", Variants, Periods),
    Writer = start_writer(Place),
    under(Out, "disk_writer", Variants, Periods),
    stop_writer(Writer),
    lists:foreach(fun close/1, Variants).

under(Out, Condition, Variants, Periods) ->
    % Once to warm up.
    _ = [turn(Variant, counters:new(?STEPS, [])) || Variant <- Variants],
    Counted = [period(Variants) || _ <- lists:seq(1, Periods)],
    lists:foreach(fun(#{name := Name}) -> tell(Out, Condition, Name, [maps:get(Name, One) || One <- Counted]) end, Variants).

%% How often which step was seen, by variant.
period(Variants) ->
    Histograms = [{Variant, counters:new(?STEPS, [])} || Variant <- Variants],
    turns(Histograms, ?TURNS),
    maps:from_list([{Name, counts(Histogram)} || {#{name := Name}, Histogram} <- Histograms]).

turns(_, 0) ->
    ok;
turns([First | Others] = Histograms, Left) ->
    lists:foreach(fun({Variant, Histogram}) -> turn(Variant, Histogram) end, Histograms),
    turns(Others ++ [First], Left - 1).

turn(#{name := Name} = Variant, Histogram) ->
    Pattern = {bench_work, leaf, 1},
    Name =/= untraced andalso erlang:trace_pattern(Pattern, true, [local]),
    Probe = fun() ->
        receive
            go -> probe(?TURN, Histogram)
        end
    end,
    % With room for all that is made: no garbage is collected meanwhile.
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

counts(Histogram) ->
    [{Step, Count} || Step <- lists:seq(1, ?STEPS), Count <- [counters:get(Histogram, Step)], Count > 0].

tell(Out, Condition, Name, Periods) ->
    Pooled = maps:to_list(lists:foldl(fun pool/2, #{}, Periods)),
    Quantiles = [integer_to_list(Ns) || Ns <- quantiles(lists:sort(Pooled))],
    line(Out, ["tail", Condition, atom_to_list(Name), integer_to_list(total(Pooled)) | Quantiles]),
    ByPeriod = [quantiles(Counts) || Counts <- Periods],
    Rare = [lists:join($,, [integer_to_list(lists:nth(Place, One)) || One <- ByPeriod]) || Place <- [3, 4]],
    line(Out, ["tail_periods", Condition, atom_to_list(Name) | Rare]).

pool(Counts, Sums) ->
    lists:foldl(fun({Step, Count}, All) -> maps:update_with(Step, fun(Sum) -> Sum + Count end, Count, All) end, Sums, Counts).

line(Out, Fields) ->
    ok = file:write(Out, [lists:join($\t, Fields), $\n]).

quantiles(Counts) ->
    Total = total(Counts),
    [quantile(Share * Total, Counts) || Share <- ?SHARES].

total(Counts) -> lists:sum([Count || {_, Count} <- Counts]).

quantile(Rank, [{Step, Count} | _]) when Rank =< Count -> nanos(Step);
quantile(_, [{Step, _}]) -> nanos(Step);
quantile(Rank, [{_, Count} | Counts]) -> quantile(Rank - Count, Counts).

%% Writes 4 GiB over and over, in a program of its own.
start_writer(#{disk := Dir}) ->
    Writer = spawn_link(fun() -> write(filename:join(Dir, "ballast")) end),
    timer:sleep(1000),
    Writer.

write(File) ->
    Arguments = ["if=/dev/zero", "of=" ++ File, "bs=1M", "count=4096", "status=none"],
    Port = open_port({spawn_executable, os:find_executable("dd")}, [{args, Arguments}, exit_status]),
    receive
        {Port, {exit_status, 0}} ->
            write(File);
        {Port, {exit_status, Status}} ->
            exit({dd, Status});
        {stop, From} ->
            case erlang:port_info(Port, os_pid) of
                {os_pid, Pid} -> os:cmd("kill -9 " ++ integer_to_list(Pid));
                undefined -> ok
            end,
            catch port_close(Port),
            ok = file:delete(File),
            From ! {stopped, self()}
    end.

stop_writer(Writer) ->
    Writer ! {stop, self()},
    receive
        {stopped, Writer} -> ok
    end.

close(Variant) ->
    case bench_variants:close(Variant) of
        {file, Path, _} -> ok = file:delete(Path);
        none -> ok
    end.
