%% @doc Measures what tracing costs, side by side in one node.
%%
%% In each round every workload is run untraced and then with every variant, the
%% order of variants rotating, so that whatever else the machine does falls on
%% all of them alike. Of three runs in a row the fastest counts: what disturbs a
%% run only ever makes it slower. (One run each of the slow variants.) Written is what was measured, one line each; what it means
%% is worked out by the report.
-module(bench).

-export([main/0]).

-type plan() :: #{out := file:io_device(), place := bench_variants:place(), seconds := number(), rounds := {pos_integer(), pos_integer()}, quick := boolean()}.

%% @doc The command line: `erl … -s bench main -extra quick|full costs|rest OUT SHM_DIR DISK_DIR'.
%% Costs are measured in several nodes, as each has its own luck with where things
%% lie in memory; the rest (files, memory, single calls) in one.
-spec main() -> no_return().
main() ->
    [Mode, Part, File, Shm, Disk] = init:get_plain_arguments(),
    {ok, Out} = file:open(File, [write, raw, binary]),
    Place = #{shm => Shm, disk => Disk, ring => 64 * 1024 * 1024},
    Plan = plan(Mode, #{out => Out, place => Place}),
    try
        part(Part, Plan),
        ok = file:close(Out),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format(standard_error, "bench: ~p:~p~n~p~n", [Class, Reason, Stack]),
            halt(1)
    end.

part("costs", Plan) ->
    facts(Plan),
    workloads(Plan);
part("rest", Plan) ->
    lists:foreach(fun bench_workloads:prepare/1, bench_workloads:all()),
    bench_events:check(Plan),
    bench_tail:measure(Plan).

%% For each workload: so many seconds, but no less and no more than so many rounds.
-spec plan(string(), map()) -> plan().
plan("quick", Plan) -> Plan#{seconds => 1, rounds => {3, 12}, quick => true};
plan("full", Plan) -> Plan#{seconds => 5, rounds => {7, 30}, quick => false}.

facts(#{out := Out}) ->
    Version = filename:join([code:root_dir(), "releases", erlang:system_info(otp_release), "OTP_VERSION"]),
    Otp =
        case file:read_file(Version) of
            {ok, Text} -> string:trim(Text);
            {error, _} -> erlang:system_info(otp_release)
        end,
    Facts = [
        {otp, Otp},
        {erts, erlang:system_info(version)},
        {emulator, atom_to_list(erlang:system_info(emu_flavor))},
        {schedulers, integer_to_list(erlang:system_info(schedulers_online))}
    ],
    [line(Out, ["fact", atom_to_list(Key), Value]) || {Key, Value} <- Facts].

workloads(#{place := Place} = Plan) ->
    Variants = [bench_variants:open(Name, Place) || Name <- bench_variants:all()],
    lists:foreach(fun(Workload) -> workload(Plan, Workload, Variants) end, bench_workloads:all()),
    lists:foreach(fun(Variant) -> lost(Plan, Variant), bench_variants:close(Variant) end, Variants),
    [ok = file:del_dir_r(File) || #{shm := Shm, disk := Disk} <- [Place], Dir <- [Shm, Disk],
        File <- filelib:wildcard(filename:join(Dir, "bench-" ++ os:getpid() ++ "-*.spoor"))],
    ok.

workload(#{out := Out} = Plan, #{name := Name, op := Op, ops := Ops} = Workload, Variants) ->
    io:format("~-20s", [Name]),
    bench_workloads:prepare(Workload),
    Until = erlang:monotonic_time(millisecond) + round(1000 * maps:get(seconds, Plan)),
    % The first round warms everything up and is not kept.
    _ = one_round(Workload, Variants),
    Samples = rounds(Plan, Workload, Variants, Until, 1, []),
    line(Out, ["workload", atom_to_list(Name), Op, integer_to_list(Ops)]),
    Names = [untraced | [maps:get(name, Variant) || Variant <- Variants]],
    lists:foreach(fun(Variant) -> samples(Out, Workload, Variant, Samples) end, Names).

rounds(#{rounds := {Least, Most}} = Plan, Workload, Variants, Until, Round, Samples) ->
    Over = Round > Least andalso erlang:monotonic_time(millisecond) > Until,
    case Over orelse Round > Most of
        true ->
            lists:reverse(Samples);
        false ->
            Sample = one_round(Workload, Variants),
            Rotated = tl(Variants) ++ [hd(Variants)],
            rounds(Plan, Workload, Rotated, Until, Round + 1, [Sample | Samples])
    end.

%% Time and events of each variant.
one_round(Workload, Variants) ->
    Untraced = lists:min([bench_workloads:run(Workload, fun(_, _) -> ok end) || _ <- tries(untraced)]),
    bench_workloads:patterns(Workload, true),
    Traced = [{Name, run(Workload, Variant)} || #{name := Name} = Variant <- Variants],
    bench_workloads:patterns(Workload, false),
    maps:from_list([{untraced, {Untraced, 0}} | Traced]).

run(Workload, #{name := Name} = Variant) ->
    Tries = tries(Name),
    Before = bench_variants:stored(Variant),
    Times = [run_once(Workload, Variant) || _ <- Tries],
    {lists:min(Times), difference(bench_variants:stored(Variant), Before) div length(Tries)}.

tries(Slow) when Slow =:= process; Slow =:= dbg_file -> [1];
tries(_) -> [1, 2, 3].

run_once(Workload, Variant) ->
    Time = bench_workloads:run(Workload, fun(Pid, Flags) -> bench_variants:trace(Variant, Pid, Flags) end),
    bench_variants:settle(Variant),
    Time.

difference({After, _}, {Before, _}) -> After - Before;
difference(unknown, unknown) -> 0.

%% In nanoseconds an operation; events a run, of the last round.
samples(Out, #{name := Name, ops := Ops}, Variant, Samples) ->
    Times = [element(1, maps:get(Variant, Sample)) / Ops || Sample <- Samples],
    {_, Events} = maps:get(Variant, lists:last(Samples)),
    Median = lists:nth((length(Times) + 1) div 2, lists:sort(Times)),
    io:format(" ~s ~b", [Variant, round(Median)]),
    Variant =:= dbg_file andalso io:format("  (~b rounds)~n", [length(Samples)]),
    Text = lists:join(",", [float_to_list(Time, [{decimals, 1}]) || Time <- Times]),
    line(Out, ["samples", atom_to_list(Name), atom_to_list(Variant), integer_to_list(Events), Text]).

lost(#{out := Out}, #{name := Name} = Variant) ->
    case bench_variants:stored(Variant) of
        {Stored, Lost} ->
            line(Out, ["lost", atom_to_list(Name), integer_to_list(Stored), integer_to_list(Lost)]);
        unknown ->
            ok
    end.

line(Out, Fields) ->
    ok = file:write(Out, [lists:join($\t, Fields), $\n]).
