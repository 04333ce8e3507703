%% @doc Records 1000 calls and writes what came of it to $CONSUMER_OUT.
-module(rebar_app_recorder).

-export([start_link/0, run/0]).

start_link() ->
    {ok, proc_lib:spawn_link(?MODULE, run, [])}.

run() ->
    Outcome = record(os:getenv("CONSUMER_DIR")),
    ok = file:write_file(os:getenv("CONSUMER_OUT"), io_lib:format("~0p.~n", [Outcome])),
    init:stop(0).

record(Dir) ->
    case spoor:start({rebar_app_work, step, 1}, #{dir => Dir, procs => [self()]}) of
        {ok, Session} ->
            lists:foreach(fun rebar_app_work:step/1, lists:seq(1, 1000)),
            {ok, #{events := Events, stop_reason := Reason}} = spoor:stop(Session),
            {recorded, Events, Reason};
        {error, _} = Error ->
            Error
    end.
