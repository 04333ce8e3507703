%% @doc What the traced processes do. The functions are called a known number of
%% times, so that what a recording holds can be compared with what happened.
-module(bench_work).

-export([fib/1, deep/1, leaf/1, server_loop/1, client_loop/2]).
-export([calls_of_fib/1]).

%% A tree of calls, all of one function.
-spec fib(non_neg_integer()) -> pos_integer().
fib(N) when N < 2 -> 1;
fib(N) -> fib(N - 1) + fib(N - 2).

%% @doc How often fib/1 is called by `fib(N)'.
-spec calls_of_fib(non_neg_integer()) -> pos_integer().
calls_of_fib(N) -> 2 * fib(N) - 1.

%% A chain of calls, each waiting for the next.
-spec deep(non_neg_integer()) -> non_neg_integer().
deep(0) -> 0;
deep(N) -> 1 + deep(N - 1).

%% A short chain that is left by its last call.
-spec leaf(non_neg_integer()) -> done.
leaf(0) -> done;
leaf(N) -> leaf(N - 1).

%% The callback of the server in the ping-pong.
-spec server_loop(term()) -> {reply, term(), term()}.
server_loop(State) -> {reply, pong, State}.

%% A client: so many calls of the server.
-spec client_loop(pid(), non_neg_integer()) -> done.
client_loop(_Server, 0) ->
    done;
client_loop(Server, N) ->
    pong = gen_server:call(Server, ping, infinity),
    client_loop(Server, N - 1).
