%% @doc The way into the demo shop: starts the whole service in this VM.
%%
%% The service is what the recorder is shown on, so it is made of OTP's own
%% parts: an `inets' web server, `mnesia' tables in memory and three
%% gen_servers. It knows nothing of Spoor. It listens on the loopback
%% interface only.
-module(shop).

-export([start/0, modules/0]).

%% Big enough for the load of the demo, small enough to be killed without regret.
-define(MAX_CLIENTS, 150).

%% @doc Starts the tables, the servers and the web server; answers its port.
-spec start() -> {ok, inet:port_number()}.
start() ->
    ok = shop_tables:create(),
    {ok, Sup} = shop_sup:start_link(),
    true = unlink(Sup),
    {ok, _} = application:ensure_all_started(inets),
    {ok, Httpd} = inets:start(httpd, web_config()),
    [{port, Port}] = httpd:info(Httpd, [port]),
    {ok, Port}.

%% @doc The modules worth recording: everything a request runs through.
-spec modules() -> [module()].
modules() ->
    [shop_web, shop_orders, shop_pricing, shop_stock, shop_audit].

-spec web_config() -> [{atom(), term()}].
web_config() ->
    {ok, Here} = file:get_cwd(),
    [
        {port, 0},
        {bind_address, {127, 0, 0, 1}},
        {server_name, "shop"},
        {server_root, Here},
        {document_root, Here},
        %% Head and body are written apart: without nodelay the second write
        %% waits for the peer's delayed acknowledgement, 40 ms.
        {socket_type, {ip_comm, [{nodelay, true}]}},
        {modules, [shop_web]},
        {max_clients, ?MAX_CLIENTS},
        {keep_alive, true},
        {keep_alive_timeout, 60}
    ].
