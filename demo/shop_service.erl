%% @doc The service VM of the demo: the shop, and the recording of it.
%%
%% Everything the demo does with Spoor's API is in `record/1'. When all is up,
%% the file `ready' appears in the working directory, with one Erlang term.
-module(shop_service).

-export([main/0]).

%% Nobody needs the service longer; a demo that was itself killed must not
%% leave it running.
-define(LIFE_MS, 120_000).
-define(RECORD_MS, 60_000).
-define(RING_BYTES, 64 * 1024 * 1024).

%% @doc The command line: `erl … -s shop_service main -extra record|bare'.
-spec main() -> no_return().
main() ->
    {ok, Port} = shop:start(),
    Lines = record(init:get_plain_arguments()),
    ready([["port=", integer_to_list(Port)], ["pid=", os:getpid()] | Lines]),
    timer:sleep(?LIFE_MS),
    halt(0).

%% What is recorded: calls and returns of the shop's modules, in all processes.
%% On releases whose VM can trace it safely, also who ran when.
-spec record([string()]) -> [iodata()].
record(["bare"]) ->
    [];
record(["record"]) ->
    Started = spoor:start(what(), #{
        dir => "recording", time => ?RECORD_MS, ring => ?RING_BYTES, link => false
    }),
    case Started of
        {ok, Session} -> described(spoor:status(Session));
        {error, Reason} -> fail(spoor:format_error(Reason))
    end.

-spec what() -> [term()].
what() ->
    case sched_is_safe() of
        true -> [scheduling | shop:modules()];
        false -> shop:modules()
    end.

%% Tracing `running' can crash the VM before OTP 25.3.2.11 and 26.2.4: a process
%% that is traced while it runs on a dirty scheduler. The demo asks for 27.
-spec sched_is_safe() -> boolean().
sched_is_safe() ->
    list_to_integer(erlang:system_info(otp_release)) >= 27.

-spec described(map()) -> [iodata()].
described(#{path := Path}) ->
    [["file=", Path], ["running=", atom_to_list(sched_is_safe())]].

%% For the demo's script: one `key=value' a line, whole or not there.
-spec ready([iodata()]) -> ok.
ready(Lines) ->
    ok = file:write_file("ready.tmp", [[Line, $\n] || Line <- Lines]),
    ok = file:rename("ready.tmp", "ready").

-spec fail(iodata()) -> no_return().
fail(Why) ->
    io:format(standard_error, "the recording did not start: ~ts~n", [Why]),
    halt(1).
