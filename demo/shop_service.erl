%% @doc The service VM of the demo: the shop, and the recording of it.
%%
%% Everything the demo does with Spoor's API is in `record/1' and `options/0'. When all is up,
%% the file `ready' appears in the working directory, with one Erlang term.
-module(shop_service).

-export([main/0]).

%% Nobody needs the service longer; a demo that was itself killed must not
%% leave it running.
-define(LIFE_MS, 120_000).

%% @doc The command line: `erl … -s shop_service main -extra record|bare'.
-spec main() -> no_return().
main() ->
    {ok, Port} = shop:start(),
    Lines = record(init:get_plain_arguments()),
    ready([["port=", integer_to_list(Port)], ["pid=", os:getpid()] | Lines]),
    timer:sleep(?LIFE_MS),
    halt(0).

%% What is recorded: calls and returns of the shop's modules in all processes, requests to
%% servers, and, unless this VM is known to crash of it, also who ran when.
-spec record([string()]) -> [iodata()].
record(["bare"]) ->
    [];
record(["record"]) ->
    case spoor:start([scheduling, requests | shop:modules()], options()) of
        {ok, Session} ->
            described(Session);
        {error, {unsafe_on_otp, _} = Reason} ->
            [["refused=", one_line(spoor:format_error(Reason))] | record_calls()];
        {error, Reason} ->
            fail(Reason)
    end.

-spec record_calls() -> [iodata()].
record_calls() ->
    case spoor:start([requests | shop:modules()], options()) of
        {ok, Session} -> described(Session);
        {error, Reason} -> fail(Reason)
    end.

-spec options() -> map().
options() ->
    #{
        dir => filename:absname("recording"),
        time => {1, minute},
        ring => <<"64MiB">>,
        link => false
    }.

-spec described(spoor:session()) -> [iodata()].
described(#{path := Path}) ->
    [["file=", Path]].

%% For the demo's script: one `key=value' a line, whole or not there.
-spec ready([iodata()]) -> ok.
ready(Lines) ->
    ok = file:write_file("ready.tmp", [[Line, $\n] || Line <- Lines]),
    ok = file:rename("ready.tmp", "ready").

-spec one_line(iodata()) -> iodata().
one_line(Text) ->
    re:replace(Text, "\\s+", " ", [global]).

-spec fail(term()) -> no_return().
fail(Reason) ->
    io:format(standard_error, "the recording did not start: ~ts~n", [spoor:format_error(Reason)]),
    halt(1).
