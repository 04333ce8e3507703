%% @doc Places orders. Plain functions: they run in the client's own process
%% and go to the servers one after the other.
-module(shop_orders).

-include("shop.hrl").

-export([place/2]).

%% @doc Prices an order, takes the goods from the stock and writes it down.
-spec place(pos_integer(), pos_integer()) ->
    {ok, Id :: integer(), Cents :: non_neg_integer()} | {error, out_of_stock}.
place(Item, Quantity) ->
    Cents = shop_pricing:price(Item, Quantity),
    case shop_stock:reserve(Item, Quantity) of
        ok -> {ok, keep(Item, Quantity, Cents), Cents};
        {error, out_of_stock} = Error -> Error
    end.

-spec keep(pos_integer(), pos_integer(), non_neg_integer()) -> integer().
keep(Item, Quantity, Cents) ->
    Id = erlang:unique_integer([positive, monotonic]),
    write(#shop_order{id = Id, item = Item, quantity = Quantity, total_cents = Cents}),
    shop_audit:placed(Id, Cents),
    Id.

-spec write(#shop_order{}) -> ok.
write(Order) ->
    {atomic, ok} = mnesia:transaction(fun() -> mnesia:write(Order) end),
    ok.
