%% @doc Times are right: the own time that `spoor calls' tells of a function is what its
%% work measured of itself in the same run, so that a busy machine slows down both. What
%% it takes from the process between two readings of the clock, one of them sees only:
%% of some short runs, in few of which a function is hit by that, the median is judged.
%%
%% The VM's `call_time' (which eprof shows) cannot watch a process whose ends of calls
%% are traced: it forgets whom they return to. It watches a second process, which works
%% in turns with the recorded one; its counts must be equal, its times are told.
-module(spoor_times_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([own_time_is_that_of_the_work/1, calls_are_those_of_call_time/1]).

-define(MODULES, [spoor_clockwork, spoor_clockwork_data]).
%% Of the other's time: by so much the median of some runs may be off, of functions
%% that are called at least so often in all of them.
-define(BAR, 0.05).
-define(RUNS, 25).
-define(OFTEN, 1_000).
%% Of one run.
-define(ROUNDS, 40).
%% Pieces of work take by far longer than what is not measured of them.
-define(BYTES, 6_000_000).

all() -> [own_time_is_that_of_the_work, calls_are_those_of_call_time].

init_per_testcase(Case, Config) ->
    lists:foreach(fun(M) -> {module, M} = code:ensure_loaded(M) end, ?MODULES),
    ok = spoor_clockwork_data:make(?BYTES),
    _ = ets:new(spoor_clockwork:measured(), [named_table, public]),
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    _ = erlang:trace_pattern({'_', '_', '_'}, false, [call_time]),
    ok.

own_time_is_that_of_the_work(Config) ->
    %% Which makes a process, too, and does not measure that.
    Work = spoor_clockwork:functions() -- [{spoor_clockwork, waiting, 2}],
    medians_within_bar("own, measured", Work, fun() ->
        true = ets:delete_all_objects(spoor_clockwork:measured()),
        Worker = worker(),
        Session = record(Worker, Config),
        ok = rounds([Worker], ?ROUNDS),
        [
            {Mfa, N, Own, ets:lookup_element(spoor_clockwork:measured(), Mfa, 2)}
         || {Mfa, {N, Own, _}} <- maps:to_list(maps:with(Work, recorded(Session)))
        ]
    end).

calls_are_those_of_call_time(Config) ->
    ok = spoor_clockwork_data:make(),
    [Worker, Other] = [worker(), worker()],
    Nobody = spawn_link(fun ignore/0),
    Session = record(Worker, Config),
    1 = erlang:trace(Other, true, [call, set_on_spawn, {tracer, Nobody}]),
    patterns(true, [call_time]),
    ok = rounds([Worker, Other], ?OFTEN),
    patterns(pause, [call_time]),
    Recorded = recorded(Session),
    %% Of work that is done by the other process itself.
    Told = maps:from_list([{Mfa, T} || Mfa <- spoor_clockwork:functions(), T = {N, _} <- [told(Mfa, Other)], N > 0]),
    ?assert(map_size(Told) > 9),
    ?assertEqual(
        maps:map(fun(_, {N, _}) -> N end, Told),
        maps:map(fun(_, {N, _, _}) -> N end, maps:with(maps:keys(Told), Recorded))
    ),
    %% Of other calls than those that are recorded: on a busy machine by any part.
    tell("own, call_time of another process", [
        {Mfa, N, Own, element(2, maps:get(Mfa, Told))}
     || {Mfa, {N, Own, _}} <- maps:to_list(maps:with(maps:keys(Told), Recorded))
    ]).

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

%% By function, which part of the other's time Spoor is off by, in the median of the runs.
%% Each of these functions must be there in each of them.
medians_within_bar(What, Mfas, Run) ->
    Runs = [maps:from_list([{Mfa, Row} || {Mfa, _, _, _} = Row <- Run()]) || _ <- lists:seq(1, ?RUNS)],
    Medians = [median(Mfa, [map_get(Mfa, Rows) || Rows <- Runs]) || Mfa <- Mfas],
    Told = lists:reverse(lists:sort([{abs(Off), Off, Least, Most, N, Mfa} || {Mfa, N, Off, Least, Most} <- Medians])),
    Lines = [
        io_lib:format("~6.2f % (~.2f to ~.2f) ~w calls ~w~n", [100 * Off, 100 * Least, 100 * Most, N, Mfa])
     || {_, Off, Least, Most, N, Mfa} <- Told
    ],
    ct:pal("~ts: median of ~w runs~n~ts", [What, ?RUNS, Lines]),
    ?assertEqual([], [Row || {_, _, _, _, N, _} = Row <- Told, N < ?OFTEN]),
    ?assertEqual([], [Row || {Off, _, _, _, _, _} = Row <- Told, Off > ?BAR]),
    ok.

median(Mfa, Rows) ->
    Off = lists:sort([(Spoor - Other) / Other || {_, _, Spoor, Other} <- Rows]),
    {Mfa, lists:sum([N || {_, N, _, _} <- Rows]), lists:nth((length(Off) + 1) div 2, Off), hd(Off), lists:last(Off)}.

tell(What, Rows) ->
    ?assert(length(Rows) > 9),
    Parts = [{abs(Spoor - Other) / Other, Mfa, N, Spoor, Other} || {Mfa, N, Spoor, Other} <- Rows],
    Off = lists:reverse(lists:sort(Parts)),
    Lines = [
        io_lib:format("~6.2f % ~6w calls ~w: ~w, ~w ns~n", [100 * Part, N, Mfa, Spoor, round(Other)])
     || {Part, Mfa, N, Spoor, Other} <- Off
    ],
    ct:pal("~ts~n~ts", [What, Lines]).
