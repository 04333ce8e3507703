%% @doc The server that owns the stock. Every reservation is a mnesia
%% transaction: the dearest step of a request on average, and an even one.
-module(shop_stock).

-behaviour(gen_server).

-include("shop.hrl").

-export([start_link/0, reserve/2, left/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Takes so many pieces of an item from the stock, if there are so many.
-spec reserve(pos_integer(), pos_integer()) -> ok | {error, out_of_stock}.
reserve(Item, Quantity) ->
    gen_server:call(?MODULE, {reserve, Item, Quantity}).

%% @doc How many pieces of an item are left. Read without asking the server.
-spec left(pos_integer()) -> non_neg_integer().
left(Item) ->
    [#shop_stock{left = Left}] = mnesia:dirty_read(shop_stock, Item),
    Left.

-spec init([]) -> {ok, none}.
init([]) ->
    {ok, none}.

-spec handle_call({reserve, pos_integer(), pos_integer()}, gen_server:from(), none) ->
    {reply, ok | {error, out_of_stock}, none}.
handle_call({reserve, Item, Quantity}, _From, State) ->
    {atomic, Answer} = mnesia:transaction(fun take/2, [Item, Quantity]),
    {reply, Answer, State}.

-spec handle_cast(term(), none) -> {noreply, none}.
handle_cast(_Other, State) ->
    {noreply, State}.

-spec take(pos_integer(), pos_integer()) -> ok | {error, out_of_stock}.
take(Item, Quantity) ->
    case mnesia:read(shop_stock, Item, write) of
        [#shop_stock{left = Left} = Row] when Left >= Quantity ->
            mnesia:write(Row#shop_stock{left = Left - Quantity});
        _ ->
            {error, out_of_stock}
    end.
