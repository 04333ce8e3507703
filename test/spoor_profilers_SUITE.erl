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

-define(ROUNDS, 1_000).
-define(MODULES, [spoor_clockwork, spoor_clockwork_data]).
%% Each takes a part of the other's time at most, of functions called so often.
-define(BAR, 0.05).
-define(OFTEN, 1_000).
%% Of two clocks that are read one after the other: only a wrong rule, and no busy
%% machine, makes this of the best of some runs.
-define(WRONG, 0.5).
-define(RUNS, 2).
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
    Path = recorded(Config, fun(_) -> fun() -> ok end end),
    {Functions, Labels} = functions(Path),
    Trace = file("trace", Config),
    Events = events(Path, Labels),
    ok = write(Trace, with_callers(Events, callers())),
    Rows = tell("fprof, of the same events", compared(Functions, fprof(Trace, Config))),
    %% Of those that recur some calls are not timed: the events do not tell which of them goes on.
    Recur = [{spoor_clockwork, F, 2} || F <- [even, odd, falling]],
    ?assertEqual(lists:sort(work()) -- Recur, lists:usort([Mfa || {_, {Mfa, _}, _, _, _} <- Rows]) -- Recur),
    ?assertEqual([], [Row || {Off, _, _, _, _} = Row <- Rows, Off > 0]).

fprof_of_the_same_run(Config) ->
    ok = spoor_clockwork_data:make(),
    within_bar("fprof, of the same run", ?RUNS, fun() ->
        Collector = spawn_link(fun() -> collect([]) end),
        Path = recorded(Config, fun(Worker) ->
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
    ok = spoor_clockwork_data:make(),
    within_bar("call_time, of the same run", ?RUNS, fun() ->
        Nobody = spawn_link(fun() -> collect([]) end),
        Path = recorded(Config, fun(Worker) ->
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

work() -> [{spoor_clockwork_data, work, 1} | spoor_clockwork:functions()].

%% Done by a process of its own, which waits to be told, and says when it is done.
worker() ->
    spawn_link(fun() ->
        receive
            {go, From} ->
                _ = ets:new(spoor_clockwork:measured(), [named_table, public]),
                ok = spoor_clockwork:run(?ROUNDS),
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
recorded(Config, Beside) ->
    {ok, Session} = spoor:open(#{dir => ?config(dir, Config)}),
    {Module, State} = spoor:tracer(Session),
    Worker = worker(),
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
    Told = [
        {Mfa, #{n => N, own => Own, acc => Total}}
     || {_, Mfa, #{
            <<"calls">> := N,
            <<"timed">> := N,
            <<"own_on_scheduler_ns">> := Own,
            <<"total_ns">> := Total
        }} <- Named
    ],
    {maps:from_list(Told), maps:from_list([{Label, Mfa} || {Label, Mfa, _} <- Named])}.

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
    Worker = worker(),
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

%% (Part by which they differ, of what, calls, Spoor's, the other's), of functions called often.
compared(Functions, Theirs) ->
    Both = maps:intersect_with(fun(_, A, B) -> {A, B} end, Functions, Theirs),
    Often = [{Mfa, A, B} || {Mfa, {#{n := N} = A, B}} <- maps:to_list(maps:with(work(), Both)), N >= ?OFTEN],
    ?assertEqual([], [Row || {_, #{n := N}, #{n := M}} = Row <- Often, N =/= M]),
    [row(Mfa, What, A, Time) || {Mfa, A, B} <- Often, {What, Time} <- maps:to_list(maps:with([acc, own], B))].

row(Mfa, What, #{n := N} = Ours, Theirs) ->
    Time = map_get(What, Ours),
    {abs(Time - Theirs) / Theirs, {Mfa, What}, N, Time, Theirs}.

tell(What, Rows) ->
    Lines = [
        io_lib:format("~6.2f % ~6w calls ~s of ~w: ~w, ~w ns~n", [100 * Off, N, Time, Mfa, Ours, Theirs])
     || {Off, {Mfa, Time}, N, Ours, Theirs} <- lists:reverse(lists:sort(Rows))
    ],
    ct:pal("~ts~n~ts", [What, Lines]),
    Rows.

%% What the machine does between the readings of two clocks only adds to a difference:
%% the smallest of some runs counts, of each row.
within_bar(What, Runs, Run) -> within_bar(What, Runs, Run, #{}).

within_bar(What, Runs, Run, Before) ->
    Rows = tell(What, Run()),
    ?assert(length(Rows) > 8),
    These = maps:from_list([{Of, Row} || {_, Of, _, _, _} = Row <- Rows]),
    Best = maps:merge_with(fun(_, A, B) -> min(A, B) end, Before, These),
    case [Row || {Off, _, _, _, _} = Row <- maps:values(Best), Off > ?BAR] of
        [] ->
            ok;
        _ when Runs > 1 ->
            within_bar(What, Runs - 1, Run, Best);
        Beyond ->
            ?assertEqual([], [Row || {Off, _, _, _, _} = Row <- Beyond, Off > ?WRONG]),
            {comment, io_lib:format("beyond ~w: ~0p", [?BAR, Beyond])}
    end.
