%% @doc Counts are equal: what `spoor calls' counts of a run is what the VM's own
%% `call_count' counted in the same run, for every function and every kind of
%% work. And every process that was scheduled in was scheduled out.
-module(spoor_counts_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    recursion/1, tail_calls/1, funs/1, exceptions/1, processes/1,
    dirty/1, ports/1, spawn_storm/1, servers/1,
    everything_at_once/1, every_in_has_its_out/1
]).

all() -> spoor_workload:all() ++ [everything_at_once, every_in_has_its_out].

init_per_testcase(Case, Config) ->
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [call_count]),
    ok.

recursion(Config) -> equal([recursion], [spoor_workload], Config).
tail_calls(Config) -> equal([tail_calls], [spoor_workload], Config).
funs(Config) -> equal([funs], [spoor_workload], Config).
exceptions(Config) -> equal([exceptions], [spoor_workload], Config).
processes(Config) -> equal([processes], [spoor_workload], Config).
dirty(Config) -> equal([dirty], [spoor_workload, zlib], Config).
ports(Config) -> equal([ports], [spoor_workload], Config).
spawn_storm(Config) -> equal([spawn_storm], [spoor_workload], Config).
servers(Config) -> equal([servers], [spoor_workload], Config).

%% All kinds of work side by side, on all schedulers.
everything_at_once(Config) ->
    equal(spoor_workload:all() ++ spoor_workload:all(), [spoor_workload, zlib], Config).

%% Only modules that nothing else in the node calls meanwhile can be compared.
equal(Kinds, Modules, Config) ->
    lists:foreach(fun(M) -> {module, M} = code:ensure_loaded(M) end, Modules),
    {ok, Session} = spoor:start(Modules, #{dir => ?config(dir, Config), time => infinity}),
    count_calls(Modules, true),
    ok = at_once(Kinds),
    count_calls(Modules, pause),
    {ok, #{path := Path, dropped := Dropped, overwritten := 0}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    Counted = lists:sort([{Mfa, N} || M <- Modules, Mfa <- functions(M), N <- [counted(Mfa)], N > 0]),
    ?assert(length(Counted) > 2),
    ?assertEqual(Counted, lists:sort(spoor_reading:counts(Path))).

at_once(Kinds) ->
    Workers = [spawn_monitor(spoor_workload, run, [Kind]) || Kind <- Kinds],
    [receive {'DOWN', Monitor, process, Pid, Why} -> ?assertEqual(normal, Why) end || {Pid, Monitor} <- Workers],
    ok.

count_calls(Modules, How) ->
    lists:foreach(fun(M) -> erlang:trace_pattern({M, '_', '_'}, How, [call_count, local]) end, Modules).

functions(Module) -> [{Module, F, A} || {F, A} <- Module:module_info(functions)].

counted(Mfa) ->
    case erlang:trace_info(Mfa, call_count) of
        {call_count, N} when is_integer(N) -> N;
        _ -> 0
    end.

%% Scheduling events can crash a VM before OTP 25.3, where processes that never
%% meet a dirty scheduler are recorded instead, by force.
every_in_has_its_out(Config) ->
    Kinds = [recursion, funs, processes, servers],
    {Worker, Monitor} = spawn_monitor(fun() ->
        receive
            go -> lists:foreach(fun(Kind) -> apply(spoor_workload, Kind, []) end, Kinds)
        end
    end),
    Options = #{dir => ?config(dir, Config), procs => [Worker], force => true, time => infinity},
    {ok, Session} = spoor:start(scheduling, Options),
    Worker ! go,
    receive
        {'DOWN', Monitor, process, Worker, Why} -> ?assertEqual(normal, Why)
    end,
    timer:sleep(100),
    {ok, #{path := Path, overwritten := 0}} = spoor:stop(Session),
    Balance = lists:foldl(fun balance/2, #{}, spoor_reading:json_lines("dump", [Path])),
    ?assert(map_size(Balance) > 50),
    ?assertEqual([], [{P, B} || {P, B} <- maps:to_list(Balance), B =/= {0, exited}]).

%% Slices open, and whether the process ended: its exit ends the last slice.
balance(#{<<"kind">> := Kind, <<"process">> := Process}, Balances) ->
    {Open, Ended} = maps:get(Process, Balances, {0, alive}),
    case Kind of
        <<"in">> -> Balances#{Process => {Open + 1, Ended}};
        <<"out">> -> Balances#{Process => {Open - 1, Ended}};
        <<"exit">> -> Balances#{Process => {Open - 1, exited}};
        _ -> Balances
    end;
balance(_, Balances) ->
    Balances.
