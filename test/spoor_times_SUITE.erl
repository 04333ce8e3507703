%% @doc Times are right: the own time that `spoor calls' tells of a function is what its
%% work measured of itself in the same run, so that a busy machine slows down both.
%%
%% The VM's `call_time' (which eprof shows) cannot watch a process whose ends of calls
%% are traced: it forgets whom they return to. It watches a second process, which works
%% in turns with the recorded one; its counts must be equal, its times are told.
-module(spoor_times_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([own_time_is_that_of_the_work/1, calls_are_those_of_call_time/1]).

-define(ROUNDS, 1_000).
-define(MODULES, [spoor_clockwork, spoor_clockwork_data]).
%% Of the other's time: what is wanted, and told; and what only a wrong rule, and no
%% busy machine, makes of the best of five runs.
-define(BAR, 0.05).
-define(WRONG, 0.5).

all() -> [own_time_is_that_of_the_work, calls_are_those_of_call_time].

init_per_testcase(Case, Config) ->
    lists:foreach(fun(M) -> {module, M} = code:ensure_loaded(M) end, ?MODULES),
    ok = spoor_clockwork_data:make(),
    _ = ets:new(spoor_clockwork:measured(), [named_table, public]),
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [call_time]),
    ok.

own_time_is_that_of_the_work(Config) ->
    within_bar("own, measured", fun() ->
        true = ets:delete_all_objects(spoor_clockwork:measured()),
        Worker = worker(),
        Session = record(Worker, Config),
        ok = rounds([Worker], ?ROUNDS),
        [
            {Mfa, N, Own, ets:lookup_element(spoor_clockwork:measured(), Mfa, 2)}
         || {Mfa, {N, Own, _}} <- maps:to_list(recorded(Session)),
            is_work(Mfa),
            %% It makes a process, too, which it does not measure.
            Mfa =/= {spoor_clockwork, waiting, 2}
        ]
    end).

calls_are_those_of_call_time(Config) ->
    [Worker, Other] = [worker(), worker()],
    Nobody = spawn_link(fun ignore/0),
    Session = record(Worker, Config),
    1 = erlang:trace(Other, true, [call, set_on_spawn, {tracer, Nobody}]),
    patterns(true, [call_time]),
    ok = rounds([Worker, Other], ?ROUNDS),
    patterns(pause, [call_time]),
    Recorded = recorded(Session),
    %% Of work that is done by the other process itself.
    Told = maps:from_list([{Mfa, T} || Mfa <- spoor_clockwork:functions(), T = {N, _} <- [told(Mfa, Other)], N > 0]),
    ?assert(map_size(Told) > 9),
    ?assertEqual(
        maps:map(fun(_, {N, _}) -> N end, Told),
        maps:map(fun(_, {N, _, _}) -> N end, maps:with(maps:keys(Told), Recorded))
    ),
    _ = tell("own, call_time", [
        {Mfa, N, Own, element(2, maps:get(Mfa, Told))}
     || {Mfa, {N, Own, _}} <- maps:to_list(maps:with(maps:keys(Told), Recorded))
    ]),
    ok.

ignore() ->
    receive
        _ -> ignore()
    end.

patterns(What, Flags) ->
    lists:foreach(fun(M) -> erlang:trace_pattern({M, '_', '_'}, What, Flags) end, ?MODULES).

told(Mfa, Pid) ->
    case erlang:trace_info(Mfa, call_time) of
        {call_time, [_ | _] = Each} ->
            lists:last([{0, 0} | [{N, S * 1_000_000_000 + U * 1_000} || {P, N, S, U} <- Each, P =:= Pid]]);
        _ ->
            {0, 0}
    end.

%% A process that works when it is told to.
worker() -> spawn_link(fun rounds/0).

rounds() ->
    receive
        {round, From} ->
            ok = spoor_clockwork:run(1),
            From ! {done, self()},
            rounds()
    end.

rounds(_Workers, 0) ->
    ok;
rounds(Workers, N) ->
    lists:foreach(
        fun(Worker) ->
            Worker ! {round, self()},
            receive
                {done, Worker} -> ok
            end
        end,
        Workers
    ),
    rounds(Workers, N - 1).

%% Forced: before OTP 25.3 scheduling events can crash a VM, which no process does
%% here that never meets a dirty scheduler.
record(Worker, Config) ->
    {ok, Session} = spoor:start(?MODULES, #{
        dir => ?config(dir, Config),
        procs => [Worker],
        set_on_spawn => true,
        running => true,
        force => true,
        time => infinity
    }),
    Session.

%% Ends a recording; by function: calls, own time, accumulated time.
recorded(Session) ->
    {ok, #{path := Path, dropped := Dropped, overwritten := 0}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    #{<<"functions">> := Functions} = spoor_reading:json("calls", [Path, "--limit", "0"]),
    maps:from_list([
        {{binary_to_atom(M), binary_to_atom(F), A}, {N, Own, Total}}
     || #{
            <<"mfa">> := [M, F, A],
            <<"calls">> := N,
            <<"own_on_scheduler_ns">> := Own,
            <<"total_ns">> := Total
        } <- Functions
    ]).

%% What the machine does between the two clocks' readings only adds to a difference:
%% the smallest of some runs counts, for each function.
within_bar(What, Run) -> within_bar(What, Run, 5, #{}).

within_bar(What, Run, Runs, Before) ->
    Rows = maps:from_list([{Mfa, Row} || {_, Mfa, _, _, _} = Row <- tell(What, Run())]),
    Best = maps:map(fun(Mfa, Row) -> min(Row, maps:get(Mfa, Before, Row)) end, Rows),
    case [Row || {Off, _, _, _, _} = Row <- maps:values(Best), Off > ?BAR] of
        [] -> ok;
        _ when Runs > 1 -> within_bar(What, Run, Runs - 1, Best);
        Beyond -> judged([Row || {Off, _, _, _, _} = Row <- Beyond, Off > ?WRONG], Beyond)
    end.

judged([], Beyond) -> {comment, io_lib:format("beyond ~w: ~0p", [?BAR, Beyond])};
judged(Wrong, _Beyond) -> ?assertEqual([], Wrong).

tell(What, Rows) ->
    ?assert(length(Rows) > 9),
    Parts = [{abs(Spoor - Other) / Other, Mfa, N, Spoor, Other} || {Mfa, N, Spoor, Other} <- Rows],
    Off = lists:reverse(lists:sort(Parts)),
    Lines = [
        io_lib:format("~6.2f % ~6w calls ~w: ~w, ~w ns~n", [100 * Part, N, Mfa, Spoor, round(Other)])
     || {Part, Mfa, N, Spoor, Other} <- Off
    ],
    ct:pal("~ts~n~ts", [What, Lines]),
    Off.

is_work(Mfa) -> lists:member(Mfa, spoor_clockwork:functions()).
