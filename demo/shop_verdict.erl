%% @doc The last lines of the demo: who made the slow answers slow.
%%
%% Works on what `spoor calls --json' says and on nothing else; no name of the
%% shop is built in. The steps are those of a person before the table:
%%
%% 1. The mean hides it: which function has the worst mean?
%% 2. The tail shows it: among the functions whose p99.9 is of the size of the
%%    worst there is, which one is usually quickest? It is the innermost one
%%    that does the slow thing only sometimes.
%% 3. What does it do then? In the same module, of the functions called much more
%%    rarely, the one that took the most time altogether.
%% 4. Who waits for it? In the same module, the function called equally often
%%    that took the most time altogether: the view of the callers, who stand in
%%    the queue of the server.
-module(shop_verdict).

-export([main/0, verdict/1]).

-type nanos() :: number().
-type row() :: #{
    name := binary(),
    module := binary(),
    calls := pos_integer(),
    mean := nanos(),
    total := nanos(),
    p50 := nanos(),
    p99 := nanos(),
    p999 := nanos()
}.

-export_type([row/0]).

%% A p99.9 of fewer calls is the time of a single one.
-define(ENOUGH_CALLS, 1000).
%% Called so many times less often, a function is what happens now and then.
-define(RARE, 20).

%% @doc The command line: `erl … -s shop_verdict main -extra CALLS_JSON'.
-spec main() -> no_return().
main() ->
    [File] = init:get_plain_arguments(),
    {ok, Text} = file:read_file(File),
    io:put_chars(verdict(rows(demo_json:decode(Text)))),
    halt(0).

%% The functions of which at least one call has a known duration.
-spec rows(demo_json:json()) -> [row()].
rows(#{<<"functions">> := Functions}) ->
    [row(Function) || #{<<"timed">> := Timed} = Function <- Functions, Timed > 0].

-spec row(#{binary() => demo_json:json()}) -> row().
row(Function) ->
    Fields = #{
        name => <<"function">>,
        module => <<"module">>,
        calls => <<"timed">>,
        mean => <<"mean_ns">>,
        total => <<"total_ns">>,
        p50 => <<"p50_ns">>,
        p99 => <<"p99_ns">>,
        p999 => <<"p999_ns">>
    },
    maps:map(fun(_Field, Key) -> maps:get(Key, Function) end, Fields).

%% @doc The verdict on a table of calls, as text.
-spec verdict([row()]) -> iodata().
verdict(Rows) ->
    case [Row || #{calls := Calls} = Row <- Rows, Calls >= ?ENOUGH_CALLS] of
        [] ->
            io_lib:format("   no function was called ~b times: too little to judge~n", [?ENOUGH_CALLS]);
        Frequent ->
            Suspect = suspect(Frequent),
            Near = [Row || Row <- Rows, same_module(Row, Suspect), Row =/= Suspect],
            [by_mean(Frequent), by_tail(Suspect), by_rarity(Suspect, Near), queue(Suspect, Near)]
    end.

-spec by_mean([row(), ...]) -> iodata().
by_mean(Frequent) ->
    #{name := Name, calls := Calls, p50 := P50} = Row = largest(fun mean/1, Frequent),
    io_lib:format(
        "   By the mean, this is the worst:~n"
        "     ~ts  mean ~s, p50 ~s, ~b calls~n",
        [Name, time(mean(Row)), time(P50), Calls]
    ).

-spec suspect([row(), ...]) -> row().
suspect(Frequent) ->
    Worst = lists:max([P999 || #{p999 := P999} <- Frequent]),
    largest(fun tail_ratio/1, [Row || #{p999 := P999} = Row <- Frequent, P999 * 4 >= Worst]).

-spec by_tail(row()) -> iodata().
by_tail(#{name := Name, p50 := P50, p99 := P99, p999 := P999} = Row) ->
    io_lib:format(
        "   The tail says something else. Quick most of the time, and now and then as slow as any:~n"
        "     ~ts  p50 ~s, p99 ~s, p99.9 ~s~n"
        "     that is ~b times its p50, behind a mean of ~s~n",
        [Name, time(P50), time(P99), time(P999), round(tail_ratio(Row)), time(mean(Row))]
    ).

-spec by_rarity(row(), [row()]) -> iodata().
by_rarity(#{calls := Of} = Suspect, Near) ->
    case [Row || #{calls := Calls} = Row <- Near, Calls * ?RARE =< Of] of
        [] -> [];
        Rare -> culprit(Suspect, largest(fun total/1, Rare))
    end.

-spec culprit(row(), row()) -> iodata().
culprit(#{calls := Of, total := Worked}, #{name := Name, calls := Calls, total := Total} = Row) ->
    io_lib:format(
        "   The time goes here, once in ~b calls of that:~n"
        "     ~ts  ~b calls, ~s each (mean): ~b % of the time above~n",
        [round(Of / Calls), Name, Calls, time(mean(Row)), round(100 * Total / Worked)]
    ).

-spec queue(row(), [row()]) -> iodata().
queue(#{calls := Of} = Suspect, Near) ->
    case [Row || #{calls := Calls} = Row <- Near, abs(Calls - Of) * 20 =< Of] of
        [] -> [];
        Alike -> queue_before(Suspect, largest(fun total/1, Alike))
    end.

%% What the callers took beyond their usual time, less what the server worked.
-spec queue_before(row(), row()) -> iodata().
queue_before(#{total := Worked}, #{calls := Calls, total := Total, p50 := P50} = Callers) ->
    #{name := Name, p99 := P99, p999 := P999} = Callers,
    Queued = max(0, Total - Calls * P50 - Worked),
    io_lib:format(
        "   And a queue stands before it. The same calls as their callers see them:~n"
        "     ~ts  p50 ~s, p99 ~s, p99.9 ~s~n"
        "     the server worked ~s on them; its callers waited ~s more than is usual for them~n",
        [Name, time(P50), time(P99), time(P999), time(Worked), time(Queued)]
    ).

-spec same_module(row(), row()) -> boolean().
same_module(#{module := One}, #{module := Other}) ->
    One =:= Other.

-spec largest(fun((row()) -> number()), [row(), ...]) -> row().
largest(Measure, Rows) ->
    {_, Row} = lists:max([{Measure(Row), Row} || Row <- Rows]),
    Row.

-spec mean(row()) -> nanos().
mean(#{mean := Mean}) ->
    Mean.

-spec total(row()) -> nanos().
total(#{total := Total}) ->
    Total.

-spec tail_ratio(row()) -> float().
tail_ratio(#{p50 := P50, p999 := P999}) ->
    P999 / max(1, P50).

-spec time(nanos()) -> string().
time(Nanos) when Nanos >= 1.0e9 -> io_lib:format("~.1f s", [Nanos / 1.0e9]);
time(Nanos) when Nanos >= 1.0e6 -> io_lib:format("~.1f ms", [Nanos / 1.0e6]);
time(Nanos) -> io_lib:format("~.1f us", [Nanos / 1.0e3]).
