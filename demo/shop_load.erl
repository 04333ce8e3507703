%% @doc HTTP load for the demo shop, from a VM of its own.
%%
%% A fixed number of clients, each on one keep-alive connection to 127.0.0.1,
%% each asking at fixed times: the load does not slow down because the answers
%% do. A request that could not be sent in time because the answer before it was
%% late counts from the moment it was due, or the worst moments of the service
%% would be the ones least measured.
%%
%% Bounded in time and in requests. Ends when the time is over or when the
%% service is gone, and tells which.
-module(shop_load).

-export([main/0, run/2]).

-define(CLIENTS, 16).
-define(EVERY_MS, 40).
-define(MAX_REQUESTS, 100_000).
%% Must lie within the items and rules the shop is filled with.
-define(ITEMS, 1000).
-define(MAX_QUANTITY, 100).

-type micros() :: non_neg_integer().
-type ending() :: finished | service_gone.
-type client() :: #{
    socket := gen_tcp:socket(), due := integer(), until := integer(), left := non_neg_integer()
}.

%% @doc The command line: `erl … -s shop_load main -extra PORT SECONDS'.
-spec main() -> no_return().
main() ->
    [Port, Seconds] = [list_to_integer(Text) || Text <- init:get_plain_arguments()],
    {Endings, Latencies} = run(Port, Seconds),
    report(Seconds, Endings, lists:sort(Latencies)),
    halt(0).

%% @doc Puts load on the service for so many seconds; answers how each client
%% ended and what each of its requests took.
-spec run(inet:port_number(), pos_integer()) -> {[ending()], [micros()]}.
run(Port, Seconds) ->
    Start = now_us(),
    Clients = [start_client(Number, Port, Start, Seconds) || Number <- lists:seq(1, ?CLIENTS)],
    {Endings, Latencies} = lists:unzip([result_of(Client) || Client <- Clients]),
    {Endings, lists:append(Latencies)}.

-spec start_client(pos_integer(), inet:port_number(), integer(), pos_integer()) ->
    {pid(), reference()}.
start_client(Number, Port, Start, Seconds) ->
    Offset = Number * ?EVERY_MS * 1000 div ?CLIENTS,
    Until = Start + Seconds * 1_000_000,
    Self = self(),
    spawn_monitor(fun() -> Self ! {self(), client(Port, Start + Offset, Until)} end).

-spec result_of({pid(), reference()}) -> {ending(), [micros()]}.
result_of({Pid, Monitor}) ->
    receive
        {Pid, Result} ->
            true = demonitor(Monitor, [flush]),
            Result;
        {'DOWN', Monitor, process, Pid, Reason} ->
            exit({client_failed, Reason})
    end.

-spec client(inet:port_number(), integer(), integer()) -> {ending(), [micros()]}.
client(Port, Due, Until) ->
    case shop_client:connect(Port) of
        {ok, Socket} ->
            Left = ?MAX_REQUESTS div ?CLIENTS,
            ask_often(#{socket => Socket, due => Due, until => Until, left => Left}, []);
        {error, _} ->
            {service_gone, []}
    end.

-spec ask_often(client(), [micros()]) -> {ending(), [micros()]}.
ask_often(#{due := Due, until := Until, left := Left}, Latencies) when Due >= Until; Left =:= 0 ->
    {finished, Latencies};
ask_often(#{socket := Socket, due := Due, left := Left} = Client, Latencies) ->
    Began = wait_until(Due),
    case ask(Socket) of
        ok ->
            Next = Client#{due := Due + ?EVERY_MS * 1000, left := Left - 1},
            ask_often(Next, [now_us() - Began | Latencies]);
        {error, _} ->
            {service_gone, Latencies}
    end.

%% When the request counts as begun: when it was due if that is past already,
%% else when the timer, which is only good for a millisecond, let it go.
-spec wait_until(integer()) -> integer().
wait_until(Due) ->
    case Due - now_us() of
        Ahead when Ahead > 0 ->
            timer:sleep((Ahead + 999) div 1000),
            now_us();
        _ ->
            Due
    end.

%% Four orders for each look at the stock.
-spec ask(gen_tcp:socket()) -> ok | {error, term()}.
ask(Socket) ->
    Item = rand:uniform(?ITEMS),
    case rand:uniform(5) of
        1 -> shop_client:look(Socket, Item);
        _ -> shop_client:order(Socket, Item, rand:uniform(?MAX_QUANTITY))
    end.

-spec report(pos_integer(), [ending()], [micros()]) -> ok.
report(_Seconds, _Endings, []) ->
    io:format("   not one request was answered~n");
report(Seconds, Endings, Sorted) ->
    Count = length(Sorted),
    io:format("   ~b clients, ~b requests answered; ~s~n", [?CLIENTS, Count, ending(Seconds, Endings)]),
    Mean = lists:sum(Sorted) / Count,
    [P50, _, P99 | _] = Quantiles = [quantile(Q, Count, Sorted) || Q <- [0.5, 0.9, 0.99, 0.999, 1.0]],
    io:format(
        "   latency in ms:  mean ~s   p50 ~s   p90 ~s   p99 ~s   p99.9 ~s   max ~s~n"
        "   Half of the answers took no more than ~s ms; one in a hundred took ~b times as long or more.~n",
        [millis(Time) || Time <- [Mean | Quantiles]] ++ [millis(P50), P99 div max(1, P50)]
    ).

-spec ending(pos_integer(), [ending()]) -> iolist().
ending(Seconds, Endings) ->
    case lists:member(service_gone, Endings) of
        true -> "then the service was gone";
        false -> io_lib:format("~b s, the service still answered", [Seconds])
    end.

%% The nearest rank: the smallest latency that so large a share did not exceed.
-spec quantile(float(), pos_integer(), [micros(), ...]) -> micros().
quantile(Share, Count, Sorted) ->
    lists:nth(max(1, ceil(Share * Count)), Sorted).

-spec millis(number()) -> string().
millis(Micros) ->
    float_to_list(Micros / 1000, [{decimals, 1}]).

-spec now_us() -> integer().
now_us() ->
    erlang:monotonic_time(microsecond).
