%% @doc The shop's web face: an `inets' httpd callback module.
%%
%% httpd calls `do/1' in the process that owns the client's connection, so one
%% slow answer holds up only this client, unless something behind it is shared.
%%
%% `POST /orders' with `item=7&quantity=2' places an order, `GET /stock/7' tells
%% what is left of an item.
-module(shop_web).

-include_lib("inets/include/httpd.hrl").

-export([do/1]).

-type answer() :: {Status :: 200..599, Text :: iodata()}.

-spec do(#mod{}) -> {proceed, [{response, {response, [tuple()], iodata()}}]}.
do(#mod{method = Method, request_uri = Uri, entity_body = Body}) ->
    {Status, Text} = route(Method, Uri, Body),
    {proceed, [{response, {response, head(Status, Text), Text}}]}.

-spec route(string(), string(), string()) -> answer().
route("POST", "/orders", Body) ->
    place_order(uri_string:dissect_query(Body));
route("GET", "/stock/" ++ Item, _Body) ->
    show_stock(list_to_integer(Item));
route(_Method, _Uri, _Body) ->
    {404, "no such page\n"}.

-spec place_order([{string(), string()}]) -> answer().
place_order(Form) ->
    Item = form_number("item", Form),
    Quantity = form_number("quantity", Form),
    case shop_orders:place(Item, Quantity) of
        {ok, Id, Cents} -> {200, io_lib:format("order ~b: ~b cents~n", [Id, Cents])};
        {error, out_of_stock} -> {409, "out of stock\n"}
    end.

-spec form_number(string(), [{string(), string()}]) -> integer().
form_number(Name, Form) ->
    {Name, Value} = lists:keyfind(Name, 1, Form),
    list_to_integer(Value).

-spec show_stock(pos_integer()) -> answer().
show_stock(Item) ->
    {200, io_lib:format("~b left~n", [shop_stock:left(Item)])}.

-spec head(200..599, iodata()) -> [tuple()].
head(Status, Text) ->
    [
        {code, Status},
        {content_type, "text/plain"},
        {content_length, integer_to_list(iolist_size(Text))}
    ].
