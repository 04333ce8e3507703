%% @doc A host that boots with Spoor in it, records once and goes.
-module(rebar_app_app).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1, init/1]).

start(_Type, _Args) ->
    supervisor:start_link({local, rebar_app_sup}, ?MODULE, []).

stop(_State) ->
    ok.

init([]) ->
    Recorder = #{
        id => recorder,
        start => {rebar_app_recorder, start_link, []},
        restart => temporary
    },
    {ok, {#{}, [Recorder]}}.
