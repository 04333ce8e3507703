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
-define(TIMEOUT_MS, 5_000).
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
    Options = [binary, {active, false}, {packet, http_bin}, {nodelay, true}],
    case gen_tcp:connect({127, 0, 0, 1}, Port, Options, ?TIMEOUT_MS) of
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
    case ask(Socket, request()) of
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
-spec request() -> iodata().
request() ->
    Item = integer_to_list(rand:uniform(?ITEMS)),
    case rand:uniform(5) of
        1 -> ["GET /stock/", Item, " HTTP/1.1\r\nHost: shop\r\n\r\n"];
        _ -> order(["item=", Item, "&quantity=", integer_to_list(rand:uniform(?MAX_QUANTITY))])
    end.

-spec order(iolist()) -> iodata().
order(Form) ->
    Length = integer_to_list(iolist_size(Form)),
    [
        "POST /orders HTTP/1.1\r\nHost: shop\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
        Length,
        "\r\n\r\n",
        Form
    ].

-spec ask(gen_tcp:socket(), iodata()) -> ok | {error, term()}.
ask(Socket, Request) ->
    case gen_tcp:send(Socket, Request) of
        ok -> read_head(Socket, 0);
        {error, _} = Error -> Error
    end.

-spec read_head(gen_tcp:socket(), non_neg_integer()) -> ok | {error, term()}.
read_head(Socket, Length) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT_MS) of
        {ok, {http_response, _, 200, _}} -> read_head(Socket, Length);
        {ok, {http_header, _, 'Content-Length', _, Text}} -> read_head(Socket, binary_to_integer(Text));
        {ok, {http_header, _, _, _, _}} -> read_head(Socket, Length);
        {ok, http_eoh} -> read_body(Socket, Length);
        {error, _} = Error -> Error
    end.

-spec read_body(gen_tcp:socket(), pos_integer()) -> ok | {error, term()}.
read_body(Socket, Length) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    Answer = gen_tcp:recv(Socket, Length, ?TIMEOUT_MS),
    case {Answer, inet:setopts(Socket, [{packet, http_bin}])} of
        {{ok, _Body}, ok} -> ok;
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
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
