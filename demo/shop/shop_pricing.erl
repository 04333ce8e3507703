%% @doc The server that knows the prices, and the demo's planted culprit.
%%
%% It answers from a table of discounts that it builds once and then trusts for
%% 200 questions. The question that finds the table used up pays for the new
%% one: tens of milliseconds, where the 199 others take microseconds. The mean
%% over all of them stays small. There is one such server for all clients, so
%% whoever asks meanwhile waits in its message queue, and is slow without
%% having done anything slow.
-module(shop_pricing).

-behaviour(gen_server).

-include("shop.hrl").

-export([start_link/0, price/2]).
-export([init/1, handle_call/3, handle_cast/2]).

%% One table of discounts serves this many questions.
-define(USES, 200).

-type discounts() :: #{Item :: pos_integer() => #{Quantity :: pos_integer() => Percent :: 0..100}}.
-type state() :: #{discounts := discounts(), uses_left := non_neg_integer()}.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The price of so many pieces of an item, in cents.
-spec price(Item :: pos_integer(), Quantity :: pos_integer()) -> non_neg_integer().
price(Item, Quantity) ->
    gen_server:call(?MODULE, {price, Item, Quantity}).

-spec init([]) -> {ok, state()}.
init([]) ->
    {ok, #{discounts => #{}, uses_left => 0}}.

-spec handle_call({price, pos_integer(), pos_integer()}, gen_server:from(), state()) ->
    {reply, non_neg_integer(), state()}.
handle_call({price, Item, Quantity}, _From, State) ->
    Fresh = use_discounts(State),
    {reply, quote_price(Item, Quantity, Fresh), Fresh}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Other, State) ->
    {noreply, State}.

-spec use_discounts(state()) -> state().
use_discounts(#{uses_left := 0} = State) ->
    use_discounts(rebuild_discounts(State));
use_discounts(#{uses_left := Left} = State) ->
    State#{uses_left := Left - 1}.

%% Builds the table anew for every item there is, not only for the one asked for.
-spec rebuild_discounts(state()) -> state().
rebuild_discounts(State) ->
    Items = mnesia:dirty_all_keys(shop_discount),
    Discounts = maps:from_list(lists:map(fun discounts_on/1, Items)),
    State#{discounts := Discounts, uses_left := ?USES}.

-spec discounts_on(pos_integer()) -> {Item :: pos_integer(), #{pos_integer() => 0..100}}.
discounts_on(Item) ->
    [#shop_discount{rules = Rules}] = mnesia:dirty_read(shop_discount, Item),
    {Item, maps:from_list(lists:keysort(2, Rules))}.

-spec quote_price(pos_integer(), pos_integer(), state()) -> non_neg_integer().
quote_price(Item, Quantity, #{discounts := Discounts}) ->
    Percent = maps:get(Quantity, maps:get(Item, Discounts), 0),
    base_price(Item) * Quantity * (100 - Percent) div 100.

-spec base_price(pos_integer()) -> pos_integer().
base_price(Item) ->
    199 + Item * 10.
