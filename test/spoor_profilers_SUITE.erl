%% @doc Times are those of OTP's own profilers.
%%
%% `fprof' cannot read a recording, but the events in one are those that it asks for, but
%% for the caller of each call. So a recording is written as a trace of `fprof', with the
%% callers as a tracer process was told them when the same work was done again, call by
%% call; `fprof' then tells the times of the very events of which `spoor calls' tells them.
%% No clock is asked twice: what differs, differs by a rule, and is explained.
%%
%% From OTP 27 on several sessions trace the same run: there `fprof' has events and times of
%% its own, and `call_time' (which `eprof' shows) is not disturbed by the tracing of returns.
-module(spoor_profilers_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([fprof_of_the_same_events/1, fprof_of_the_same_run/1, call_time_of_the_same_run/1]).

-define(MODULES, [spoor_clockwork, spoor_clockwork_data]).
%% Of two clocks that are read one after the other: by so much of the other's time the median of
%% some short runs may be off, of functions that are called at least so often in all of them. What
%% a busy machine takes from a process between the two readings, few of the runs have.
-define(BAR, 0.05).
-define(OFTEN, 1_000).
-define(RUNS, 25).
-define(ROUNDS, 40).
%% Pieces of work take by far longer than what passes between two readings.
-define(BYTES, 6_000_000).
%% Those that recur: not all of their calls are timed, as the events do not tell which of them goes
%% on, before that was seen; of all others all are.
-define(RECUR, [{spoor_clockwork, F, 2} || F <- [even, odd, falling]]).
-define(FLAGS, [call, return_to, arity, running, procs, set_on_spawn]).

all() ->
    _ = code:ensure_loaded(trace),
    Sessions =
        case erlang:function_exported(trace, session_create, 3) of
            true -> [fprof_of_the_same_run, call_time_of_the_same_run];
            false -> []
        end,
    [fprof_of_the_same_events | Sessions].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    lists:foreach(fun(M) -> {module, M} = code:ensure_loaded(M) end, ?MODULES),
    Config.

end_per_suite(_Config) ->
    application:stop(spoor).

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    [{dir, Dir} | Config].

end_per_testcase(_Case, _Config) ->
    patterns(false),
    _ = spoor:stop(),
    ok.

%% ---- cases ----------------------------------------------------------------------

fprof_of_the_same_events(Config) ->
    ok = spoor_clockwork_data:make(1_000),
    Path = recorded(Config, ?OFTEN, fun(_) -> fun() -> ok end end),
    {Functions, Labels} = functions(Path),
    Trace = file("trace", Config),
    Events = events(Path, Labels),
    ok = write(Trace, with_callers(Events, callers())),
    Rows = tell("fprof, of the same events", compared(Functions, fprof(Trace, Config))),
    ?assertEqual([], [Row || {_, _, N, _, _} = Row <- Rows, N < ?OFTEN]),
    %% Times are those of fprof to the nanosecond. Of those that recur, what is not known of calls that are
    %% not timed is missing.
    ?assertEqual([], [Row || {Off, {Mfa, _}, _, _, _} = Row <- Rows, Off /= 0, not is_missing(Mfa, Functions)]),
    ?assertEqual([], [Row || {Off, _, _, _, _} = Row <- Rows, Off > 0]).

is_missing(Mfa, Functions) -> map_get(untimed, map_get(Mfa, Functions)) > 0.

fprof_of_the_same_run(Config) ->
    ok = spoor_clockwork_data:make(?BYTES),
    medians_within_bar("fprof, of the same run", fun() ->
        Collector = spawn_link(fun() -> collect([]) end),
        Path = recorded(Config, ?ROUNDS, fun(Worker) ->
            Other = trace:session_create(spoor_fprof, Collector, []),
            _ = [trace:function(Other, {M, '_', '_'}, with_caller(), [local]) || M <- ?MODULES],
            1 = trace:process(Other, Worker, true, [monotonic_timestamp | ?FLAGS]),
            fun() -> true = trace:session_destroy(Other) end
        end),
        {Functions, _} = functions(Path),
        Trace = file("trace", Config),
        ok = write(Trace, collected(Collector)),
        compared(Functions, fprof(Trace, Config))
    end).

call_time_of_the_same_run(Config) ->
    ok = spoor_clockwork_data:make(?BYTES),
    medians_within_bar("call_time, of the same run", fun() ->
        Nobody = spawn_link(fun() -> collect([]) end),
        Path = recorded(Config, ?ROUNDS, fun(Worker) ->
            Other = trace:session_create(spoor_call_time, Nobody, []),
            _ = [trace:function(Other, {M, '_', '_'}, true, [call_time]) || M <- ?MODULES],
            1 = trace:process(Other, Worker, true, [call, set_on_spawn]),
            fun() ->
                Told = [{Mfa, trace:info(Other, Mfa, call_time)} || Mfa <- work()],
                true = trace:session_destroy(Other),
                put(call_time, maps:from_list([{Mfa, sum(Each)} || {Mfa, {call_time, [_ | _] = Each}} <- Told]))
            end
        end),
        {Functions, _} = functions(Path),
        Told = maps:map(fun(_, {N, Ns}) -> #{n => N, own => Ns} end, erase(call_time)),
        compared(caught(Functions), caught(Told))
    end).

%% No return tells call_time that an exception was caught: it goes on counting for the function
%% that threw. The two are one here.
caught(#{{spoor_clockwork, throwing, 1} := #{own := Throwing}} = Functions) ->
    maps:update_with({spoor_clockwork, catching, 1}, fun(#{own := Own} = F) -> F#{own := Own + Throwing} end,
        maps:remove({spoor_clockwork, throwing, 1}, Functions)).

sum(Each) ->
    {lists:sum([N || {_, N, _, _} <- Each]), lists:sum([S * 1_000_000_000 + U * 1_000 || {_, _, S, U} <- Each])}.

%% ---- work, recorded --------------------------------------------------------------

%% What is compared: all of it.
work() -> [{spoor_clockwork_data, work, 1} | spoor_clockwork:functions()].

%% Done by a process of its own, which waits to be told, and says when it is done.
worker(Rounds) ->
    spawn_link(fun() ->
        receive
            {go, From} ->
                _ = ets:new(spoor_clockwork:measured(), [named_table, public]),
                ok = spoor_clockwork:run(Rounds),
                true = ets:delete(spoor_clockwork:measured()),
                From ! {done, self()}
        end
    end).

done(Worker) ->
    Worker ! {go, self()},
    Monitor = monitor(process, Worker),
    receive
        {done, Worker} -> ok
    end,
    receive
        {'DOWN', Monitor, _, _, normal} -> ok
    end.

patterns(What) -> lists:foreach(fun(M) -> erlang:trace_pattern({M, '_', '_'}, What, [local]) end, ?MODULES).

%% A recording; `Beside' has its process watched otherwise, too, and answers how to end that.
recorded(Config, Rounds, Beside) ->
    {ok, Session} = spoor:open(#{dir => ?config(dir, Config)}),
    {Module, State} = spoor:tracer(Session),
    Worker = worker(Rounds),
    patterns(true),
    1 = erlang:trace(Worker, true, [{tracer, Module, State} | ?FLAGS]),
    End = Beside(Worker),
    ok = done(Worker),
    _ = End(),
    patterns(false),
    {ok, #{path := Path, dropped := Dropped, overwritten := 0}} = spoor:stop(Session),
    ?assertEqual(#{}, Dropped),
    Path.

%% What is told of each function; and functions by what they are called.
functions(Path) ->
    #{<<"functions">> := Rows} = spoor_reading:json("calls", [Path, "--limit", "0"]),
    Named = [{Label, mfa(Mfa), Row} || #{<<"function">> := Label, <<"mfa">> := Mfa} = Row <- Rows],
    Told = maps:from_list([
        {Mfa, #{n => N, untimed => N - Timed, own => Own, acc => Total}}
     || {_, Mfa, #{
            <<"calls">> := N,
            <<"timed">> := Timed,
            <<"own_on_scheduler_ns">> := Own,
            <<"total_ns">> := Total
        }} <- Named
    ]),
    Untimed = [Row || {Mfa, #{untimed := Untimed}} = Row <- maps:to_list(maps:with(work(), Told)), Untimed > 0,
        not lists:member(Mfa, ?RECUR)],
    ?assertEqual([], Untimed),
    {Told, maps:from_list([{Label, Mfa} || {Label, Mfa, _} <- Named])}.

mfa([M, F, A]) -> {binary_to_atom(M), binary_to_atom(F), A}.

%% ---- its events as those of fprof ------------------------------------------------

%% In order, as a tracer process gets them; their times are nanoseconds.
events(Path, Labels) -> [event(Event, Labels) || Event <- spoor_reading:json_lines("dump", [Path])].

event(#{<<"process">> := P, <<"kind">> := Kind, <<"at_ns">> := At, <<"fields">> := Fields}, Labels) ->
    Pid = list_to_pid(binary_to_list(P)),
    Function =
        case Fields of
            #{<<"function">> := Label} when is_binary(Label) -> function(Label, Labels);
            _ -> 0
        end,
    case binary_to_atom(Kind) of
        return_to when Function =:= 0 -> {trace_ts, Pid, return_to, undefined, At};
        Tag when Tag =:= call; Tag =:= return_to; Tag =:= in; Tag =:= out -> {trace_ts, Pid, Tag, Function, At};
        exit -> {trace_ts, Pid, exit, normal, At};
        _ -> nothing
    end.

%% As users write it, when it was not called.
function(Label, Labels) ->
    case Labels of
        #{Label := Mfa} ->
            Mfa;
        #{} ->
            {ok, Tokens, _} = erl_scan:string(binary_to_list(Label)),
            case Tokens of
                [{atom, _, M}, {':', _}, {atom, _, F}, {'/', _}, {integer, _, A}] -> {M, F, A};
                _ -> {Label, Label, 0}
            end
    end.

%% The callers of all calls, by the turn in which processes began to call, in order.
callers() ->
    Collector = spawn_link(fun() -> collect([]) end),
    Worker = worker(?OFTEN),
    lists:foreach(fun(M) -> erlang:trace_pattern({M, '_', '_'}, with_caller(), [local]) end, ?MODULES),
    1 = erlang:trace(Worker, true, [call, arity, return_to, set_on_spawn, {tracer, Collector}]),
    ok = done(Worker),
    patterns(false),
    Calls = [{Pid, {Mfa, Caller}} || {trace, Pid, call, Mfa, Caller} <- collected(Collector)],
    {_, Callers} = lists:foldl(
        fun({Pid, Call}, {Turns, Queues}) ->
            Turn = maps:get(Pid, Turns, map_size(Turns)),
            {Turns#{Pid => Turn}, maps:update_with(Turn, fun(Q) -> [Call | Q] end, [Call], Queues)}
        end,
        {#{}, #{}},
        Calls
    ),
    maps:map(fun(_, Queue) -> lists:reverse(Queue) end, Callers).

with_caller() -> [{'_', [], [{message, {{cp, {caller}}}}]}].

with_callers(Events, Callers) -> with_callers(Events, #{}, Callers).

with_callers([], _Turns, Callers) ->
    %% Both times the same was done.
    ?assertEqual([], lists:append(maps:values(Callers))),
    [];
with_callers([{trace_ts, Pid, call, Mfa, At} | Events], Turns, Callers) ->
    Turn = maps:get(Pid, Turns, map_size(Turns)),
    #{Turn := [{Mfa, Caller} | Further]} = Callers,
    [{trace_ts, Pid, call, Mfa, Caller, At} | with_callers(Events, Turns#{Pid => Turn}, Callers#{Turn := Further})];
with_callers([nothing | Events], Turns, Callers) ->
    with_callers(Events, Turns, Callers);
with_callers([Event | Events], Turns, Callers) ->
    [Event | with_callers(Events, Turns, Callers)].

collect(Messages) ->
    receive
        {told, From} -> From ! {told, self(), lists:reverse(Messages)};
        Message -> collect([Message | Messages])
    end.

collected(Collector) ->
    Delivered = erlang:trace_delivered(all),
    receive
        {trace_delivered, all, Delivered} -> ok
    end,
    Collector ! {told, self()},
    receive
        {told, Collector, Messages} -> Messages
    end.

%% ---- fprof --------------------------------------------------------------------------

%% A file such as trace ports write. Its times are microseconds, as fprof takes them to be, but
%% tell nanoseconds.
write(File, Events) ->
    First = lists:min([At || Event <- Events, At <- [element(tuple_size(Event), Event)], is_integer(At)]),
    file:write_file(File, [record(Event, First) || Event <- Events]).

record(Event, First) ->
    Last = tuple_size(Event),
    At = element(Last, Event) - First,
    Time = {At div 1_000_000_000_000, At div 1_000_000 rem 1_000_000, At rem 1_000_000},
    Bytes = term_to_binary(setelement(Last, Event, Time)),
    [<<0, (byte_size(Bytes)):32>>, Bytes].

%% What fprof makes of it: of each function calls, accumulated and own time in nanoseconds.
fprof(Trace, Config) ->
    Analysis = file("analysis", Config),
    ok = fprof:profile([{file, Trace}]),
    ok = fprof:analyse([{dest, Analysis}, {totals, true}, {details, false}]),
    _ = fprof:stop(),
    {ok, Terms} = file:consult(Analysis),
    maps:from_list([
        {Mfa, #{n => N, acc => round(Acc * 1_000), own => round(Own * 1_000)}}
     || {_, {{_, _, _} = Mfa, N, Acc, Own}, _} <- Terms
    ]).

file(Name, Config) -> filename:join(?config(dir, Config), Name).

%% ---- comparing ------------------------------------------------------------------------

%% (Part by which they differ, of what, calls, Spoor's, the other's), of all work.
compared(Functions, Theirs) ->
    Both = [{Mfa, map_get(Mfa, Functions), map_get(Mfa, Theirs)} || Mfa <- work(), is_map_key(Mfa, Functions)],
    ?assertEqual([], [Row || {_, #{n := N}, #{n := M}} = Row <- Both, N =/= M]),
    [row(Mfa, What, A, Time) || {Mfa, A, B} <- Both, {What, Time} <- maps:to_list(maps:with([acc, own], B))].

row(Mfa, What, #{n := N} = Ours, Theirs) ->
    Time = map_get(What, Ours),
    {(Time - Theirs) / Theirs, {Mfa, What}, N, Time, Theirs}.

tell(What, Rows) ->
    Lines = [
        io_lib:format("~6.2f % ~6w calls ~s of ~w: ~w, ~w ns~n", [100 * Off, N, Time, Mfa, Ours, Theirs])
     || {Off, {Mfa, Time}, N, Ours, Theirs} <- lists:reverse(lists:sort(Rows))
    ],
    ct:pal("~ts~n~ts", [What, Lines]),
    ?assert(length(Rows) > 8),
    Rows.

%% Of what is compared in each run, the median. Of those that recur accumulated time is only of the
%% calls that are timed.
medians_within_bar(What, Run) ->
    Runs = [maps:from_list([{Of, Row} || {_, Of, _, _, _} = Row <- Run()]) || _ <- lists:seq(1, ?RUNS)],
    [First | _] = Each = [lists:sort(maps:keys(Rows)) || Rows <- Runs],
    ?assertEqual([], [Other || Other <- Each, Other =/= First]),
    ?assert(length(First) > 8),
    Medians = tell_medians(What, [median(Of, [map_get(Of, Rows) || Rows <- Runs]) || Of <- First]),
    ?assertEqual([], [Row || {_, N, _, _, _} = Row <- Medians, N < ?OFTEN]),
    ?assertEqual([], [Row || {Of, _, Off, _, _} = Row <- Medians, abs(Off) > ?BAR, not (Off < 0 andalso recurs(Of))]),
    ok.

recurs({Mfa, What}) -> What =:= acc andalso lists:member(Mfa, ?RECUR).

median(Of, Rows) ->
    Off = lists:sort([Off || {Off, _, _, _, _} <- Rows]),
    {Of, lists:sum([N || {_, _, N, _, _} <- Rows]), lists:nth((length(Off) + 1) div 2, Off), hd(Off), lists:last(Off)}.

tell_medians(What, Medians) ->
    Lines = [
        io_lib:format("~6.2f % (~.2f to ~.2f) ~w calls ~s of ~w~n", [100 * Off, 100 * Least, 100 * Most, N, Time, Mfa])
     || {{Mfa, Time}, N, Off, Least, Most} <- lists:reverse(lists:keysort(3, Medians))
    ],
    ct:pal("~ts: median of ~w runs~n~ts", [What, ?RUNS, Lines]),
    Medians.
