%% The rows of the shop's mnesia tables; the first field is the key.

-record(shop_stock, {item :: pos_integer(), left :: non_neg_integer()}).
-record(shop_order, {
    id :: integer(),
    item :: pos_integer(),
    quantity :: pos_integer(),
    total_cents :: non_neg_integer()
}).
-record(shop_discount, {
    item :: pos_integer(),
    rules :: [{Quantity :: pos_integer(), Percent :: 0..100}]
}).
