%% The rows of the shop's mnesia tables; the first field is the key.

-record(shop_stock, {item :: pos_integer(), left :: non_neg_integer()}).
-record(shop_order, {
    id :: integer(),
    item :: pos_integer(),
    quantity :: pos_integer(),
    total_cents :: non_neg_integer()
}).
-record(shop_discount, {
    rule :: {Item :: pos_integer(), Level :: pos_integer()} | '$1',
    percent :: 0..100 | '$2'
}).
