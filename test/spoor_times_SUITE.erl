%% @doc Times are right: the own time that `spoor calls' tells of a function is what its
%% work measured of itself in the same run, so that a busy machine slows down both. What
%% it takes from the process between two readings of the clock, one of them sees only:
%% of some short runs, in few of which a function is hit by that, the median is judged.
%%
%% The VM's `call_time' (which eprof shows) cannot watch a process whose ends of calls
%% are traced: it forgets whom they return to. It watches a second process, which works
%% in turns with the recorded one; its counts must be equal, its times are told.
%%
%% And what a process is off for, it knows itself, too: that it sleeps, hibernates, or
%% has been sent its reply.
-module(spoor_times_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([own_time_is_that_of_the_work/1, calls_are_those_of_call_time/1]).
-export([who_sleeps_is_not_ready/1, who_hibernates_waits/1, who_has_its_reply_is_ready/1]).
-export([hibernating/0]).

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

%% Messages that a process sleeps for, so long each, in milliseconds.
-define(TICKS, 20).
-define(TICK_MS, 20).

all() ->
    [
        own_time_is_that_of_the_work,
        calls_are_those_of_call_time,
        who_sleeps_is_not_ready,
        who_hibernates_waits,
        who_has_its_reply_is_ready
    ].

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

%% Of a message that is no request there is no event: that proves nothing.
who_sleeps_is_not_ready(Config) ->
    Server = spawn_link(fun server/0),
    Worker = spawn_link(fun() -> ticked(Server) end),
    Path = recording([scheduling, requests], all, Config, fun() -> ticks(Worker) end),
    #{<<"queued_ns">> := Queued, <<"waiting_ns">> := Waiting, <<"off_ns">> := Off} = split(Worker, Path),
    ct:pal("queued ~w, waiting ~w, off ~w ns", [Queued, Waiting, Off]),
    ?assert(Waiting + Off > ?TICKS * ?TICK_MS * 500_000),
    ?assert(Queued < ?TICKS * ?TICK_MS * 500_000),
    #{<<"run_queue">> := Queue} = spoor_reading:json("sched", [Path]),
    ?assertMatch(#{<<"receives_recorded">> := false}, Queue).

%% Its next event is a call of the function that it goes on with.
who_hibernates_waits(Config) ->
    Worker = spawn_link(fun hibernating/0),
    What = [{?MODULE, hibernating}, scheduling, messages],
    Path = recording(What, [Worker, self()], Config, fun() -> ticks(Worker) end),
    #{<<"queued_ns">> := Queued, <<"waiting_ns">> := Waiting} = split(Worker, Path),
    ct:pal("queued ~w, waiting ~w ns", [Queued, Waiting]),
    ?assert(Waiting > ?TICKS * ?TICK_MS * 500_000),
    ?assert(Queued < ?TICKS * ?TICK_MS * 500_000).

%% A reply goes to an alias, since OTP 24, where the client may give up. All schedulers are busy, so that who has one waits
%% for its turn: from its reply, of which the server knows when, to what it does then.
who_has_its_reply_is_ready(Config) ->
    Server = spawn_link(fun server/0),
    Self = self(),
    Client = spawn_link(fun() ->
        receive
            go -> Self ! {waited, lists:sum([waited(Server) || _ <- lists:seq(1, 100)])}
        end,
        receive
            stop -> ok
        end
    end),
    Busy = [spawn_link(fun() -> busy(lists:seq(1, 300), lists:seq(1, 300)) end) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers_online))],
    Path = recording([scheduling, messages], [Client, Server], Config, fun() ->
        Client ! go,
        receive
            {waited, Waited} -> put(waited, Waited)
        end
    end),
    lists:foreach(fun(Pid) -> true = unlink(Pid), true = exit(Pid, kill) end, Busy),
    #{<<"queued_ns">> := Queued} = split(Client, Path),
    ct:pal("from reply to work ~w, queued ~w ns", [get(waited), Queued]),
    ?assert(Queued > get(waited) div 2).

recording(What, Procs, Config, Run) ->
    {ok, Session} = spoor:start(What, #{
        dir => ?config(dir, Config), procs => Procs, force => true, time => infinity
    }),
    Run(),
    {ok, #{path := Path, dropped := Dropped}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    Path.

split(Pid, Path) ->
    Name = list_to_binary(pid_to_list(Pid)),
    #{<<"processes">> := Rows} = spoor_reading:json("procs", [Path, "--each"]),
    [Split] = [Split || #{<<"process">> := Process, <<"split">> := Split} <- Rows, Process =:= Name],
    Split.

ticks(Worker) ->
    lists:foreach(
        fun(_) ->
            timer:sleep(?TICK_MS),
            Worker ! {tick, self()},
            receive
                ticked -> ok
            end
        end,
        lists:seq(1, ?TICKS)
    ).

ticked(Server) ->
    receive
        {tick, From} ->
            _ = gen_server:call(Server, now),
            From ! ticked,
            ticked(Server)
    end.

hibernating() ->
    receive
        {tick, From} -> From ! ticked
    after 0 -> ok
    end,
    proc_lib:hibernate(?MODULE, hibernating, []).

waited(Server) ->
    Replied = gen_server:call(Server, now, 60_000),
    erlang:monotonic_time(nanosecond) - Replied.

server() ->
    receive
        {'$gen_call', From, now} -> gen_server:reply(From, erlang:monotonic_time(nanosecond))
    end,
    server().

%% To compare takes no reductions: its turns are long.
busy(Numbers, Same) ->
    true = Numbers =:= Same,
    busy(Numbers, Same).

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
