%% @doc The server that keeps the books. Clients only cast to it, so nobody
%% waits for it.
-module(shop_audit).

-behaviour(gen_server).

-export([start_link/0, placed/2]).
-export([init/1, handle_call/3, handle_cast/2]).

-type state() :: #{orders := non_neg_integer(), cents := non_neg_integer()}.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Tells the books of an order.
-spec placed(integer(), non_neg_integer()) -> ok.
placed(Id, Cents) ->
    gen_server:cast(?MODULE, {placed, Id, Cents}).

-spec init([]) -> {ok, state()}.
init([]) ->
    {ok, #{orders => 0, cents => 0}}.

-spec handle_call(totals, gen_server:from(), state()) -> {reply, state(), state()}.
handle_call(totals, _From, State) ->
    {reply, State, State}.

-spec handle_cast({placed, integer(), non_neg_integer()}, state()) -> {noreply, state()}.
handle_cast({placed, _Id, Cents}, #{orders := Orders, cents := Sum}) ->
    {noreply, #{orders => Orders + 1, cents => Sum + Cents}}.
