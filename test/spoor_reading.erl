%% @doc Reads recordings the way users do, with the `spoor' command, for the suites.
-module(spoor_reading).

-export([command/0, run/2, json/2, json_lines/2, counts/1]).

%% @doc The command under test: $SPOOR_BIN, or what `make' builds.
-spec command() -> file:filename_all().
command() ->
    case os:getenv("SPOOR_BIN", "") of
        "" -> filename:join([project(), "target", "release", "spoor"]);
        Path -> Path
    end.

project() ->
    Compile = proplists:get_value(source, ?MODULE:module_info(compile)),
    filename:dirname(filename:dirname(filename:absname(Compile))).

%% @doc Runs `spoor SUBCOMMAND ARGS': its exit status and standard output.
-spec run(string(), [file:filename_all()]) -> {non_neg_integer(), binary()}.
run(Subcommand, Args) ->
    Port = open_port({spawn_executable, command()}, [
        {args, [Subcommand | Args]}, binary, exit_status, use_stdio, hide
    ]),
    collect(Port, []).

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Output)}
    end.

%% @doc The one JSON value that a subcommand prints with `--json'.
-spec json(string(), [file:filename_all()]) -> term().
json(Subcommand, Args) ->
    {Status, Text} = run(Subcommand, Args ++ ["--json"]),
    Status =< 1 orelse error({spoor, Subcommand, Status, Text}),
    decode(Text).

%% @doc The JSON values that a subcommand prints with `--json', one on a line.
-spec json_lines(string(), [file:filename_all()]) -> [term()].
json_lines(Subcommand, Args) ->
    {Status, Text} = run(Subcommand, Args ++ ["--json"]),
    Status =< 1 orelse error({spoor, Subcommand, Status, Text}),
    [decode(Line) || Line <- binary:split(Text, <<"\n">>, [global]), Line =/= <<>>].

%% @doc Calls of each function that was called.
-spec counts(file:filename_all()) -> [{mfa(), pos_integer()}].
counts(File) ->
    #{<<"functions">> := Functions} = json("calls", [File, "--limit", "0"]),
    [
        {{binary_to_atom(Module), binary_to_atom(Name), Arity}, Count}
     || #{<<"mfa">> := [Module, Name, Arity], <<"calls">> := Count} <- Functions
    ].

%% The demo has a reader that works on every OTP.
decode(Text) ->
    _ = code:is_loaded(demo_json) =:= false andalso load_decoder(),
    apply(demo_json, decode, [Text]).

load_decoder() ->
    {ok, Module, Beam} = compile:file(filename:join([project(), "demo", "demo_json"]), [binary]),
    {module, Module} = code:load_binary(Module, "demo_json", Beam).
