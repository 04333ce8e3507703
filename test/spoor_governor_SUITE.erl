%% @doc Limits hold exactly, and a recording that they have thinned says so
%% everywhere and never pretends to be whole.
-module(spoor_governor_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    the_rate_holds_exactly/1, the_rate_holds_in_each_stretch/1, the_rate_holds_for_all_kinds_of_events/1, every_event_is_counted_once/1,
    max_events_hold_exactly/1, the_time_holds_exactly/1, the_time_counts_when_tracing_is_on/1,
    the_rate_of_a_function_holds_exactly/1, callers_of_a_limited_function_keep_their_times/1,
    what_was_limited_has_no_wrong_times/1, times_come_back_after_too_many_waited/1,
    a_sample_takes_whole_processes/1, a_sample_of_spawned_processes/1, who_is_not_in_the_sample_is_left_alone/1,
    a_sample_tells_of_how_many_processes/1, a_sample_of_those_that_were_there/1,
    the_cost_is_limited/1, refusing_that_costs_far_too_much_ends_it/1, an_overload_can_stop/1, everybody_says_what_is_left_out/1,
    nothing_waits_in_an_overload/1,
    all_limits_at_once_in_a_loop/1
]).
-export([busy/0, idler/0, work/1, outer/1, leaf/1, tree/2, wait/1, parent/2, child/1, looper/1]).

all() ->
    [
        the_rate_holds_exactly, the_rate_holds_in_each_stretch, the_rate_holds_for_all_kinds_of_events, every_event_is_counted_once,
        max_events_hold_exactly, the_time_holds_exactly, the_time_counts_when_tracing_is_on,
        the_rate_of_a_function_holds_exactly, callers_of_a_limited_function_keep_their_times,
        what_was_limited_has_no_wrong_times, times_come_back_after_too_many_waited,
        a_sample_takes_whole_processes, a_sample_of_spawned_processes, who_is_not_in_the_sample_is_left_alone,
        a_sample_tells_of_how_many_processes, a_sample_of_those_that_were_there,
        the_cost_is_limited, refusing_that_costs_far_too_much_ends_it, an_overload_can_stop, everybody_says_what_is_left_out,
        nothing_waits_in_an_overload,
        all_limits_at_once_in_a_loop
    ].

init_per_testcase(Case, Config) ->
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    _ = erlang:trace_pattern({?MODULE, '_', '_'}, false, [local]),
    ok.

%%% Work to record

work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

outer(Times) -> [?MODULE:leaf(N) || N <- lists:seq(1, Times)].

leaf(N) -> {N}.

%% As deep as it is wide: each call calls two more, one of them as its last act.
tree(0, _) -> ok;
tree(Depth, N) ->
    _ = [?MODULE:leaf(N) || N rem 2 =:= 0],
    _ = ?MODULE:tree(Depth - 1, 2 * N),
    ?MODULE:tree(Depth - 1, 2 * N + 1).

wait(Whom) ->
    Whom ! {waits, self()},
    receive never -> ok end.

parent(Children, Calls) ->
    receive
        go -> [receive {'DOWN', M, process, _, normal} -> ok end
               || {_, M} <- [spawn_monitor(?MODULE, child, [Calls]) || _ <- lists:seq(1, Children)]]
    end.

child(Calls) -> ?MODULE:work(Calls).

looper(N) ->
    receive stop -> N
    after 0 -> _ = ?MODULE:leaf(N), ?MODULE:looper(N + 1)
    end.

busy() ->
    ok = spoor_workload:quick(),
    _ = [?MODULE:leaf(N) || N <- lists:seq(1, 100)],
    {Pid, M} = spawn_monitor(?MODULE, child, [20]),
    receive {'DOWN', M, process, Pid, normal} -> ok end,
    receive after 1 -> ?MODULE:busy() end.

idler() ->
    receive go -> _ = ?MODULE:leaf(1), ?MODULE:idler() end.

%%% Cases: rate

%% Traced without returns, each call is one event that the VM asks about.
the_rate_holds_exactly(Config) ->
    Session = opened(#{rate => {1000, {1, hour}}}, [call, arity], Config),
    ok = on_all_schedulers(fun() -> work(9_999) end, 4),
    #{events := 1000, dropped := #{rate := 39_000}} = stop_own(Session).

the_rate_holds_in_each_stretch(Config) ->
    Session = opened(#{rate => {50, 20}}, [call, arity], Config),
    ok = on_all_schedulers(fun() -> work(49_999) end, 4),
    #{events := Events, dropped := Dropped, elapsed_ms := Ms, path := Path} = stop_own(Session),
    ?assertEqual(200_000, Events + maps:get(rate, Dropped, 0)),
    ?assert(Events >= 50),
    ?assert(Events =< 50 * (Ms div 20 + 1)),
    %% In any stretch of that length there are parts of two that are counted.
    Times = [Time || #{<<"kind">> := <<"call">>, <<"at_ns">> := Time} <- spoor_reading:json_lines("dump", [Path])],
    ?assertEqual(Events, length(Times)),
    Later = lists:nthtail(min(100, Events), Times),
    ?assertEqual([], [From || {From, To} <- lists:zip(lists:sublist(Times, length(Later)), Later), To - From < 19_900_000]).

the_rate_holds_for_all_kinds_of_events(Config) ->
    Procs = spawned(fun() -> lists:foreach(fun spoor_workload:run/1, kinds()) end),
    {ok, Session} = start([full, spoor_workload], #{rate => {300, {1, hour}}, procs => [Procs], force => true}, Config),
    go(Procs),
    {ok, #{events := 300, dropped := #{rate := Dropped}}} = spoor:stop(Session),
    ?assert(Dropped > 10_000).

%% Before OTP 25.3 processes on dirty schedulers cannot be traced safely.
kinds() -> [recursion, tail_calls, funs, exceptions, processes, servers].

%% The VM asks once for each event: what it is told not to make is counted once.
every_event_is_counted_once(Config) ->
    Work = fun() ->
        [begin self() ! N, receive N -> ok end end || N <- lists:seq(1, 500)],
        [begin {Pid, M} = spawn_monitor(fun() -> ok end), receive {'DOWN', M, process, Pid, normal} -> ok end end
         || _ <- lists:seq(1, 100)],
        true = register(?MODULE, self()),
        true = unregister(?MODULE),
        [true = link(spawn(fun() -> timer:sleep(1000) end)) || _ <- lists:seq(1, 10)]
    end,
    Offered = fun(Limits) ->
        Worker = spawned(Work),
        Options = Limits#{procs => [Worker], set_on_spawn => false},
        {ok, Session} = start(messages, Options, Config),
        go(Worker),
        {ok, #{events := Events, dropped := Dropped}} = spoor:stop(Session),
        {Events, Events + maps:get(rate, Dropped, 0)}
    end,
    {All, All} = Offered(#{}),
    {10, Counted} = Offered(#{rate => {10, {1, hour}}}),
    ?assert(All > 1_000),
    ?assertEqual(All, Counted).

%%% Cases: those that end a recording

max_events_hold_exactly(Config) ->
    lists:foreach(
        fun(Max) ->
            Session = opened(#{max_events => Max}, [call, arity], Config),
            ok = on_all_schedulers(fun() -> work(999) end, 4),
            #{events := Max, stop_reason := <<"max_events">>} = stop_own(Session)
        end,
        [1, 17, 3000]
    ).

the_time_holds_exactly(Config) ->
    Worker = spawn(?MODULE, looper, [0]),
    Options = #{procs => [Worker], time => 300, rate => {20, 1}},
    {Took, {ok, #{path := Path} = Session}} = timer:tc(fun() -> start({?MODULE, leaf}, Options, Config) end),
    await_end(Session),
    Worker ! stop,
    {ok, #{stop_reason := <<"time">>}} = spoor:stop(Session),
    Times = [Time || #{<<"at_ns">> := Time} <- spoor_reading:json_lines("dump", [Path])],
    ?assert(length(Times) > 0),
    %% From when tracing is on: the first event comes while it is turned on.
    ?assert(lists:max(Times) - lists:min(Times) =< 300_000_000 + Took * 1000).

%% Not while it is turned on, which takes longer than the limit where processes are many: the
%% last of them is recorded.
the_time_counts_when_tracing_is_on(Config) ->
    Many = [spawn(?MODULE, idler, []) || _ <- lists:seq(1, 30_000)],
    Last = spawn(?MODULE, looper, [0]),
    [
        spoor_leftovers:eventually(fun() ->
            {ok, Session} = start({?MODULE, leaf}, Limit#{time => 40, procs => Many ++ [Last]}, Config),
            await_end(Session),
            {ok, #{stop_reason := <<"time">>, events := Events, path := Path}} = spoor:stop(Session),
            ok = file:delete(Path),
            Events > 0
        end, 5)
     || Limit <- [#{}, #{rate => {100_000, 1000}}, #{max_cost => 0.5}, #{function_rate => {100_000, 1000}}]
    ],
    [exit(Pid, kill) || Pid <- [Last | Many]].

%%% Cases: rate of a function

the_rate_of_a_function_holds_exactly(Config) ->
    {ok, #{path := Path} = Session} = start(?MODULE, #{function_rate => {250, {1, hour}}}, Config),
    ok = on_all_schedulers(fun() -> work(2_000), outer(100), outer(2_000) end, 4),
    {ok, #{dropped := #{function_rate := Dropped}, events := Events}} = spoor:stop(Session),
    Counts = maps:from_list(spoor_reading:counts(Path)),
    #{{?MODULE, work, 1} := 250, {?MODULE, leaf, 1} := 250, {?MODULE, outer, 1} := 8} = Counts,
    ?assert(Dropped > 15_000),
    %% Returns are left out with their calls.
    ?assert(Events < 1_500).

callers_of_a_limited_function_keep_their_times(Config) ->
    Caller = spawned(fun() -> [_ = outer(20) || _ <- lists:seq(1, 150)] end),
    Options = #{function_rate => {200, {1, hour}}, procs => [Caller]},
    {ok, #{path := Path} = Session} = start([{?MODULE, outer}, {?MODULE, leaf}], Options, Config),
    go(Caller),
    {ok, #{dropped := #{function_rate := _}}} = spoor:stop(Session),
    #{<<"calls">> := 200, <<"timed">> := 200} = row(Path, <<"leaf">>),
    #{<<"calls">> := 150, <<"timed">> := Timed} = row(Path, <<"outer">>),
    %% The first has nothing before it that it could be told from.
    ?assert(Timed >= 149, Timed).

%% Times of a limited recording are times of a whole one: calls lie inside of
%% their callers, and none takes longer than the whole work did.
what_was_limited_has_no_wrong_times(Config) ->
    Caller = spawned(fun() -> [tree(8, N) || N <- lists:seq(1, 40)] end),
    {ok, #{path := Path} = Session} = start(?MODULE, #{function_rate => {100, 1}, procs => [Caller]}, Config),
    Begun = erlang:monotonic_time(nanosecond),
    go(Caller),
    Took = erlang:monotonic_time(nanosecond) - Begun,
    {ok, #{dropped := #{function_rate := _}}} = spoor:stop(Session),
    #{<<"functions">> := Functions, <<"own_ns">> := Own} = spoor_reading:json("calls", [Path, "--limit", "0"]),
    ?assert(Own =< Took),
    lists:foreach(
        fun(#{<<"calls">> := Calls, <<"timed">> := Timed, <<"total_ns">> := Total}) ->
            ?assert(Timed =< Calls),
            ?assert(Total =< Took)
        end,
        Functions
    ).

%% More processes than there is room for are in calls that were left out, and killed there.
times_come_back_after_too_many_waited(Config) ->
    {ok, #{path := Path} = Session} = start(?MODULE, #{function_rate => {2, 200}}, Config),
    ok = waited(12_000),
    Caller = spawned(fun() -> [{timer:sleep(300), outer(1)} || _ <- lists:seq(1, 4)] end),
    go(Caller),
    {ok, #{dropped := #{function_rate := Dropped}}} = spoor:stop(Session),
    ?assert(Dropped > 10_000, Dropped),
    #{<<"calls">> := Calls, <<"timed">> := Timed} = row(Path, <<"outer">>),
    ?assert(Calls =:= 4 andalso Timed >= 3, {Calls, Timed}).

%% So many processes are in a call at once, and killed there.
waited(Number) ->
    Self = self(),
    Waiting = [spawn_monitor(?MODULE, wait, [Self]) || _ <- lists:seq(1, Number)],
    [receive {waits, Pid} -> ok end || {Pid, _} <- Waiting],
    [exit(Pid, kill) || {Pid, _} <- Waiting],
    [receive {'DOWN', Monitor, process, _, _} -> ok end || {_, Monitor} <- Waiting],
    ok.

%%% Cases: sample

a_sample_takes_whole_processes(Config) ->
    {ok, #{path := Path} = Session} = start({?MODULE, work, 1}, #{sample => 4, procs => new}, Config),
    Pids = [element(1, spawn_monitor(?MODULE, work, [10])) || _ <- lists:seq(1, 400)],
    lists:foreach(fun(Pid) -> receive {'DOWN', _, process, Pid, normal} -> ok end end, Pids),
    {ok, _} = spoor:stop(Session),
    Taken = calls_by_process(Path),
    ?assert(map_size(Taken) >= 60 andalso map_size(Taken) =< 140, map_size(Taken)),
    ?assertEqual([11], lists:usort(maps:values(Taken))).

%% With the processes listed, those that they spawn are decided one by one too.
a_sample_of_spawned_processes(Config) ->
    {Parent, Monitor} = spawn_monitor(?MODULE, parent, [400, 10]),
    {ok, #{path := Path} = Session} = start({?MODULE, work, 1}, #{sample => 4, procs => [Parent]}, Config),
    Parent ! go,
    receive {'DOWN', Monitor, process, Parent, normal} -> ok end,
    {ok, #{dropped := Dropped, sampled := Sampled}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    Taken = calls_by_process(Path),
    %% The parent may be in it, or not; it makes no calls of its own.
    #{processes := 401, recorded := Recorded} = Sampled,
    ?assert(Recorded - map_size(Taken) =< 1),
    ?assert(map_size(Taken) >= 60 andalso map_size(Taken) =< 140, map_size(Taken)),
    ?assertEqual([11], lists:usort(maps:values(Taken))).

who_is_not_in_the_sample_is_left_alone(Config) ->
    Workers = [spawn(?MODULE, idler, []) || _ <- lists:seq(1, 80)],
    {ok, Session} = start({?MODULE, leaf, 1}, #{sample => 8}, Config),
    lists:foreach(fun(_) -> [Pid ! go || Pid <- Workers], timer:sleep(20) end, lists:seq(1, 10)),
    Traced = length([Pid || Pid <- Workers, is_traced(Pid)]),
    {ok, #{sample := 8}} = spoor:stop(Session),
    [exit(Pid, kill) || Pid <- Workers],
    ?assert(Traced < 40, Traced).

%% Said as processes, by everybody, and never as events.
a_sample_tells_of_how_many_processes(Config) ->
    {ok, #{path := Path} = Session} = start({?MODULE, work, 1}, #{sample => 10, procs => new}, Config),
    Pids = [element(1, spawn_monitor(?MODULE, work, [7])) || _ <- lists:seq(1, 3_000)],
    lists:foreach(fun(Pid) -> receive {'DOWN', _, process, Pid, normal} -> ok end end, Pids),
    Taken = length(Pids) div 10,
    #{sampled := #{processes := All} = Sampled} = spoor:status(Session),
    %% Others come and go beside them.
    ?assert(All >= 3_000 andalso All < 3_100, All),
    {ok, #{sampled := #{recorded := Recorded, processes := Last}, dropped := Dropped, thinned := Thinned, text := Text}} =
        spoor:stop(Session),
    ?assertEqual({#{}, #{}}, {Dropped, Thinned}),
    ?assert(Last >= All andalso Recorded >= maps:get(recorded, Sampled)),
    ?assert(Recorded > Taken div 2 andalso Recorded < 2 * Taken, Recorded),
    Of = lists:flatten(io_lib:format("~b of ~b processes", [Recorded, Last])),
    {match, _} = re:run(Text, Of),
    #{<<"ledger">> := #{<<"dropped">> := 0}, <<"findings">> := Findings, <<"notes">> := Notes} =
        spoor_reading:json("info", [Path]),
    [#{<<"what">> := What}] = [Finding || #{<<"place">> := <<"limits">>} = Finding <- Findings],
    Readable = thousands(Of),
    ?assertMatch({match, _}, re:run(What, Readable)),
    [#{<<"detail">> := Detail}] = [Note || #{<<"what">> := <<"sample">>} = Note <- Notes],
    ?assertMatch({match, _}, re:run(Detail, Of)),
    {0, Said} = spoor_reading:run("info", [Path]),
    ?assertMatch({match, _}, re:run(Said, Readable)),
    ?assert(map_size(calls_by_process(Path)) =< Recorded).

%% "1001 of 10000" as people read it.
thousands(Text) -> re:replace(Text, "(\\d)(\\d{3})\\b", "\\1,\\2", [global, {return, list}]).

%% Those that were there before it began, whether they do anything or wait all the time.
a_sample_of_those_that_were_there(Config) ->
    Idle = [spawn(?MODULE, idler, []) || _ <- lists:seq(1, 150)],
    Busy = [spawn(?MODULE, looper, [0]) || _ <- lists:seq(1, 50)],
    {ok, Session} = start({?MODULE, leaf, 1}, #{sample => 4, procs => Idle ++ Busy, set_on_spawn => false}, Config),
    #{sampled := First} = spoor:status(Session),
    timer:sleep(200),
    [Pid ! go || Pid <- Idle],
    [Pid ! stop || Pid <- Busy],
    timer:sleep(100),
    {ok, #{sampled := Sampled, path := Path}} = spoor:stop(Session),
    ?assertMatch(#{processes := 200}, Sampled),
    ?assertEqual(First, Sampled),
    [exit(Pid, kill) || Pid <- Idle],
    ?assertEqual(maps:get(recorded, Sampled), map_size(calls_by_process(Path))),
    Others = [spawn(?MODULE, looper, [0]) || _ <- lists:seq(1, 50)],
    {ok, All} = start({?MODULE, leaf, 1}, #{sample => 1_000_000}, Config),
    timer:sleep(200),
    [Pid ! stop || Pid <- Others],
    {ok, #{sampled := #{processes := Met, recorded := 0}, events := 0, text := Text}} = spoor:stop(All),
    ?assert(Met >= 50 + length(processes()) - 60, Met),
    {match, _} = re:run(Text, "0 of \\d+ processes").

is_traced(Pid) ->
    case spoor_tracing:api() of
        legacy ->
            spoor_tracing:tracer_of(Pid) =/= none;
        {session, Api} ->
            %% All sessions that trace it, ours by name.
            string:find(io_lib:format("~p", [Api:session_info(Pid)]), "spoor_") =/= nomatch
    end.

%%% Cases: cost, overload

the_cost_is_limited(Config) ->
    Worker = spawn(?MODULE, looper, [0]),
    {ok, Session} = start({?MODULE, leaf}, #{max_cost => {0.1, percent}, procs => [Worker]}, Config),
    timer:sleep(300),
    #{dropped := #{max_cost := _}, thinned := #{max_cost := #{first_ms := First}}, elapsed_ms := Sofar} =
        Status = spoor:status(Session),
    ?assertMatch(#{max_cost := 0.001, rate := infinity}, Status),
    ?assert(First =< Sofar, {First, Sofar}),
    Worker ! stop,
    {ok, #{events := Events, dropped := #{max_cost := Dropped}, elapsed_ms := Ms}} = spoor:stop(Session),
    %% 10 µs in each window of 10 ms; no event takes less than 5 ns.
    ?assert(Events =< (Ms div 10 + 2) * 2001),
    ?assert(Events > 0),
    ?assert(Dropped > Events).

%% Two callbacks for each call take more than that, however little they do.
refusing_that_costs_far_too_much_ends_it(Config) ->
    Workers = [spawn(?MODULE, looper, [0]) || _ <- lists:seq(1, 2 * erlang:system_info(schedulers))],
    {ok, #{path := Path} = Session} = start({?MODULE, leaf}, #{max_cost => 0.0001, procs => Workers}, Config),
    await_end(Session),
    [?assertEqual({flags, []}, erlang:trace_info(Worker, flags)) || Worker <- Workers],
    [Worker ! stop || Worker <- Workers],
    #{stop_reason := <<"max_cost: refusing", _/binary>> = Reason, dropped := #{max_cost := _}, text := Text} =
        spoor:status(Session),
    {match, _} = re:run(Text, "max_cost: refusing"),
    ?assertMatch(#{<<"reason">> := Reason}, spoor_reading:json("info", [Path])).

an_overload_can_stop(Config) ->
    lists:foreach(
        fun({Options, Reason}) ->
            Worker = spawn(?MODULE, looper, [0]),
            {ok, Session} = start({?MODULE, leaf}, Options#{overload => stop, procs => [Worker]}, Config),
            await_end(Session),
            Worker ! stop,
            #{stop_reason := Reason, path := Path} = spoor:status(Session),
            #{<<"reason">> := Reason} = spoor_reading:json("info", [Path])
        end,
        [
            {#{rate => {100, {1, hour}}}, <<"rate">>},
            {#{function_rate => {100, {1, hour}}}, <<"function_rate">>},
            {#{max_cost => 0.0001}, <<"max_cost">>}
        ]
    ).

everybody_says_what_is_left_out(Config) ->
    Worker = spawn(?MODULE, looper, [0]),
    Options = #{rate => {100, {1, hour}}, sample => 1, procs => [Worker]},
    {ok, #{path := Path} = Session} = start({?MODULE, leaf}, Options, Config),
    timer:sleep(100),
    #{thinned := #{rate := #{events := Sofar, first_ms := First, last_ms := Last}}, dropped := #{rate := _}} =
        spoor:status(Session),
    ?assert(Sofar > 0 andalso First =< Last),
    Worker ! stop,
    {ok, #{thinned := #{rate := #{events := Dropped}}, dropped := #{rate := Dropped}, text := Text}} = spoor:stop(Session),
    {match, _} = re:run(Text, "dropped \\(rate, [0-9.]+ to [0-9.]+ s after the start\\)"),
    #{<<"notes">> := Notes, <<"findings">> := Findings, <<"ledger">> := Ledger} = spoor_reading:json("info", [Path]),
    #{<<"dropped_by_cause">> := #{<<"rate">> := Dropped}} = Ledger,
    ?assertMatch([_, _], [Note || #{<<"what">> := <<"rate">>} = Note <- Notes]),
    ?assertMatch([_], [Finding || #{<<"place">> := <<"limits">>} = Finding <- Findings]),
    lists:foreach(
        fun(Command) ->
            {0, Said} = spoor_reading:run(Command, [Path]),
            ?assertMatch({match, _}, re:run(Said, "left out by rate"), Command)
        end,
        ["info", "calls", "sched"]
    ),
    {0, Drawn} = spoor_reading:run("flame", [Path, "-o", filename:join(?config(dir, Config), "flame.svg")]),
    {match, _} = re:run(Drawn, "not all: [0-9,]+ events left out by rate").

%% Ten times what is allowed and more, for a while: nothing piles up. The long
%% form is `make soak'.
nothing_waits_in_an_overload(Config) ->
    Workers = [spawn(?MODULE, looper, [0]) || _ <- lists:seq(1, 4)],
    {ok, Session} = start([?MODULE, messages], #{rate => {1000, 100}}, Config),
    Queues = [begin timer:sleep(50), longest_queue() end || _ <- lists:seq(1, 20)],
    #{events := Events, dropped := #{rate := Dropped}} = spoor:status(Session),
    {ok, _} = spoor:stop(Session),
    [Pid ! stop || Pid <- Workers],
    ?assert(Dropped > 10 * Events, {Events, Dropped}),
    ?assert(lists:max(Queues) < 20, Queues).

%% Begun and ended under load with whatever limits: the file is whole, and its
%% ledger is the recorder's.
all_limits_at_once_in_a_loop(Config) ->
    Workers = [spawn(?MODULE, busy, []) || _ <- lists:seq(1, 6)],
    lists:foreach(
        fun(Round) ->
            Limits = lists:nth(Round rem 6 + 1, [
                #{rate => {500, 5}, function_rate => {20, 1}, sample => 2, max_cost => 0.01},
                #{function_rate => {1, 1}},
                #{sample => 3, function_rate => {50, 3}},
                #{max_cost => 0.0001, rate => {100_000, 1}},
                #{rate => {3, 1}, max_events => 1_000},
                #{function_rate => {1_000, {1, hour}}, overload => stop}
            ]),
            {ok, Session} = start([?MODULE, spoor_workload, messages], Limits, Config),
            timer:sleep(60),
            {ok, #{path := Path, events := Events, dropped := Dropped}} = spoor:stop(Session),
            #{<<"ledger">> := Ledger, <<"findings">> := Findings} = spoor_reading:json("info", [Path]),
            ?assertEqual([], [Finding || #{<<"severity">> := <<"damage">>} = Finding <- Findings]),
            #{<<"stored">> := Events, <<"dropped_by_cause">> := ByCause} = Ledger,
            ?assertEqual(Dropped, maps:from_list([{binary_to_atom(Cause), N} || {Cause, N} <- maps:to_list(ByCause)])),
            ok = file:delete(Path)
        end,
        lists:seq(1, 24)
    ),
    [exit(Pid, kill) || Pid <- Workers].

longest_queue() ->
    lists:max([N || Pid <- processes(), {message_queue_len, N} <- [process_info(Pid, message_queue_len)]]).

%%% Helpers

start(What, Options, Config) ->
    spoor:start(What, maps:merge(#{dir => ?config(dir, Config), ring => <<"4MiB">>, time => infinity}, Options)).

%% A recording for tracing of our own: calls of work/1, by all new processes.
opened(Options, Flags, Config) ->
    {ok, Session} = spoor:open(maps:merge(#{dir => ?config(dir, Config), ring => <<"4MiB">>, time => infinity}, Options)),
    {Module, State} = spoor:tracer(Session),
    1 = erlang:trace_pattern({?MODULE, work, 1}, true, [local]),
    0 = erlang:trace(new_processes, true, [{tracer, Module, State} | Flags]),
    Session.

stop_own(Session) ->
    _ = erlang:trace(new_processes, false, [all]),
    {ok, Summary} = spoor:stop(Session),
    Summary.

on_all_schedulers(Work, Number) ->
    Workers = [spawn_monitor(Work) || _ <- lists:seq(1, Number)],
    [receive {'DOWN', Monitor, process, Pid, Why} -> ?assertEqual(normal, Why) end || {Pid, Monitor} <- Workers],
    ok.

%% A process that works when it is told to.
spawned(Work) -> spawn(fun() -> receive {go, From} -> _ = Work(), From ! {done, self()} end end).

go(Pid) ->
    Pid ! {go, self()},
    receive {done, Pid} -> ok end.

await_end(Session) ->
    case spoor:status(Session) of
        #{phase := stopped} -> ok;
        _ -> timer:sleep(20), await_end(Session)
    end.

row(Path, Name) ->
    #{<<"functions">> := Rows} = spoor_reading:json("calls", [Path, "--limit", "0"]),
    [Row] = [Row || #{<<"mfa">> := [_, Found, _]} = Row <- Rows, Found =:= Name],
    Row.

calls_by_process(Path) ->
    lists:foldl(
        fun
            (#{<<"kind">> := <<"call">>, <<"process">> := Process}, Counts) ->
                maps:update_with(Process, fun(N) -> N + 1 end, 1, Counts);
            (_, Counts) ->
                Counts
        end,
        #{},
        spoor_reading:json_lines("dump", [Path])
    ).
