%% @doc The server of the ping-pong.
-module(bench_server).
-behaviour(gen_server).

-export([start/0]).
-export([init/1, handle_call/3, handle_cast/2]).

%% @doc On the first scheduler, where its clients are.
-spec start() -> {ok, pid()}.
start() -> gen_server:start(?MODULE, [], [{spawn_opt, [{scheduler, 1}]}]).

-spec init([]) -> {ok, none}.
init([]) -> {ok, none}.

-spec handle_call(ping, gen_server:from(), none) -> {reply, pong, none}.
handle_call(ping, _From, State) -> bench_work:server_loop(State).

-spec handle_cast(term(), none) -> {noreply, none}.
handle_cast(_Message, State) -> {noreply, State}.
