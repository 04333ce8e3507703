%% @doc Starts and stops Spoor with its host. Nothing is recorded by itself.
-module(spoor_app).
-behaviour(application).

-export([start/2, stop/1]).

%% @private
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case spoor_sup:start_link() of
        {ok, Pid} -> {ok, Pid};
        ignore -> {error, ignored};
        {error, Reason} -> {error, Reason}
    end.

%% @private
-spec stop(term()) -> ok.
stop(_State) ->
    ok.
