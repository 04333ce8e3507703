%% @doc Something to record.
-module(rebar_app_work).

-export([step/1]).

step(N) ->
    N * N rem 7.
