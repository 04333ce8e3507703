%% @doc Supervises the shop's servers.
-module(shop_sup).

-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Servers = [shop_audit, shop_stock, shop_pricing],
    {ok, {#{strategy => one_for_one}, [child(Module) || Module <- Servers]}}.

-spec child(module()) -> supervisor:child_spec().
child(Module) ->
    #{id => Module, start => {Module, start_link, []}}.
