%% @doc The shop's data: mnesia tables in memory, and the rows they start with.
-module(shop_tables).

-include("shop.hrl").

-export([create/0, items/0]).

-define(ITEMS, 1000).
%% Discount rules for each item. Their number decides how long
%% `shop_pricing:rebuild_discounts/1' takes: tens of milliseconds.
-define(RULES_PER_ITEM, 100).
-define(IN_STOCK, 1_000_000).

%% @doc Starts mnesia without a schema on disk and fills the tables.
-spec create() -> ok.
create() ->
    ok = mnesia:start(),
    ok = create_table(shop_stock, record_info(fields, shop_stock)),
    ok = create_table(shop_order, record_info(fields, shop_order)),
    ok = create_table(shop_discount, record_info(fields, shop_discount)),
    lists:foreach(fun fill/1, lists:seq(1, ?ITEMS)).

%% @doc How many different items the shop sells; they are numbered from 1.
-spec items() -> pos_integer().
items() ->
    ?ITEMS.

-spec create_table(atom(), [atom()]) -> ok.
create_table(Name, Fields) ->
    {atomic, ok} = mnesia:create_table(Name, [{attributes, Fields}, {ram_copies, [node()]}]),
    ok.

-spec fill(pos_integer()) -> ok.
fill(Item) ->
    ok = mnesia:dirty_write(#shop_stock{item = Item, left = ?IN_STOCK}),
    mnesia:dirty_write(#shop_discount{item = Item, rules = rules(Item)}).

-spec rules(pos_integer()) -> [{pos_integer(), 0..100}].
rules(Item) ->
    [{Quantity, (Item * Quantity) rem 30} || Quantity <- lists:seq(1, ?RULES_PER_ITEM)].
