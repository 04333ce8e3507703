%% @doc Starts and stops Spoor with its host. Nothing is recorded by itself.
-module(spoor_app).
-behaviour(application).

-export([start/2, stop/1]).

%% Of other applications.
-define(NEEDED_AT_THE_END, [seq_trace, sys, gen_statem, gen_server, proc_lib, file, filename, filelib, re, string, io_lib, unicode, unicode_util, logger]).

%% @private
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    %% Now, not when a recording ends: to load a module takes a file descriptor, and a
    %% node that has none left is just the one to be looked at.
    {ok, Ours} = application:get_key(spoor, modules),
    _ = [code:ensure_loaded(Module) || Module <- Ours ++ ?NEEDED_AT_THE_END],
    case spoor_sup:start_link() of
        {ok, Pid} -> {ok, Pid};
        ignore -> {error, ignored};
        {error, Reason} -> {error, Reason}
    end.

%% @private
-spec stop(term()) -> ok.
stop(_State) ->
    ok.
