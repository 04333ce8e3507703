%% @doc A client of the shop: one connection, one request after the other.
-module(shop_client).

-export([connect/1, close/1, look/2, order/3]).

-define(TIMEOUT_MS, 5_000).

%% @doc A connection to the shop on this host.
-spec connect(inet:port_number()) -> {ok, gen_tcp:socket()} | {error, term()}.
connect(Port) ->
    Options = [binary, {active, false}, {packet, http_bin}, {nodelay, true}],
    gen_tcp:connect({127, 0, 0, 1}, Port, Options, ?TIMEOUT_MS).

-spec close(gen_tcp:socket()) -> ok.
close(Socket) ->
    gen_tcp:close(Socket).

%% @doc Looks how much there is of an item.
-spec look(gen_tcp:socket(), pos_integer()) -> ok | {error, term()}.
look(Socket, Item) ->
    ask(Socket, ["GET /stock/", integer_to_list(Item), " HTTP/1.1\r\nHost: shop\r\n\r\n"]).

%% @doc Orders so many of an item.
-spec order(gen_tcp:socket(), pos_integer(), pos_integer()) -> ok | {error, term()}.
order(Socket, Item, Quantity) ->
    Form = ["item=", integer_to_list(Item), "&quantity=", integer_to_list(Quantity)],
    ask(Socket, [
        "POST /orders HTTP/1.1\r\nHost: shop\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
        integer_to_list(iolist_size(Form)),
        "\r\n\r\n",
        Form
    ]).

-spec ask(gen_tcp:socket(), iodata()) -> ok | {error, term()}.
ask(Socket, Request) ->
    case gen_tcp:send(Socket, Request) of
        ok -> head(Socket, 0);
        {error, _} = Error -> Error
    end.

-spec head(gen_tcp:socket(), non_neg_integer()) -> ok | {error, term()}.
head(Socket, Length) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT_MS) of
        {ok, {http_response, _, 200, _}} -> head(Socket, Length);
        {ok, {http_header, _, 'Content-Length', _, Text}} -> head(Socket, binary_to_integer(Text));
        {ok, {http_header, _, _, _, _}} -> head(Socket, Length);
        {ok, http_eoh} -> body(Socket, Length);
        {error, _} = Error -> Error
    end.

-spec body(gen_tcp:socket(), non_neg_integer()) -> ok | {error, term()}.
body(Socket, Length) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    Answer = gen_tcp:recv(Socket, Length, ?TIMEOUT_MS),
    case {Answer, inet:setopts(Socket, [{packet, http_bin}])} of
        {{ok, _Body}, ok} -> ok;
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.
