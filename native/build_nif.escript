#!/usr/bin/env escript
%%! +fnu
%% Builds the recorder (crate spoor-nif) and installs it as spoor_tracer.so.
%%
%%   escript native/build_nif.escript [OUT_DIR [BUILD_DIR]]
%%
%% Mix (mix.exs), rebar3 (rebar.config) and make all call this one script. It
%% needs nothing but OTP, and cargo unless a ready-built library is named.
%%
%%   OUT_DIR            where the library goes, else priv/native beside this project
%%   BUILD_DIR          where cargo works, else $REBAR_BUILD_DIR, else _build;
%%                      the sources themselves are never written to
%%   SPOOR_NIF          path of a ready-built library: copied, cargo is not called
%%   CARGO_TARGET_DIR   as cargo reads it; overrides BUILD_DIR
%%   CARGO_NET_OFFLINE, CARGO_BUILD_TARGET, RUSTFLAGS, ...: cargo reads them itself
%%
%% The installed file changes only when its bytes would, and only by a rename:
%% a node that has the old one mapped keeps the old one.
%% Exit status: 0 installed or already up to date, 1 anything else.
-mode(compile).

-define(CRATE, "spoor-nif").
-define(TARGET, "spoor_nif").
-define(LIBRARY, "spoor_tracer.so").

main(Args) ->
    ok = io:setopts(standard_error, [{encoding, unicode}]),
    Project = project_dir(),
    {OutDir, BuildDir} = directories(Args, Project),
    try
        Built = library(Project, BuildDir),
        install(Built, filename:join(OutDir, ?LIBRARY))
    catch
        throw:{failed, Format, Values} ->
            io:format(standard_error, "spoor: " ++ Format ++ "~n", Values),
            halt(1)
    end.

project_dir() ->
    filename:dirname(filename:dirname(filename:absname(escript:script_name()))).

directories([OutDir, BuildDir], _Project) ->
    {filename:absname(OutDir), filename:absname(BuildDir)};
directories([OutDir], Project) ->
    {filename:absname(OutDir), default_build_dir(Project)};
directories([], Project) ->
    {filename:join([Project, "priv", "native"]), default_build_dir(Project)}.

default_build_dir(Project) ->
    filename:absname(env("REBAR_BUILD_DIR", filename:join(Project, "_build"))).

%% The library to install: the one named, or the one cargo has just built.
library(Project, BuildDir) ->
    case env("SPOOR_NIF", "") of
        "" -> cargo_build(Project, BuildDir);
        Named -> named_library(filename:absname(Named))
    end.

named_library(Path) ->
    case filelib:is_regular(Path) of
        true -> Path;
        false -> fail("SPOOR_NIF names ~ts, which is not a file", [Path])
    end.

cargo_build(Project, BuildDir) ->
    Cargo =
        case os:find_executable("cargo") of
            false -> fail(no_cargo(), []);
            Found -> Found
        end,
    TargetDir = env("CARGO_TARGET_DIR", filename:join([BuildDir, "native", "spoor"])),
    Port = open_port({spawn_executable, Cargo}, [
        {args, cargo_args(Project)},
        {cd, Project},
        {env, [{"CARGO_TARGET_DIR", filename:absname(TargetDir)}]},
        {line, 4096},
        binary,
        exit_status,
        use_stdio,
        hide
    ]),
    case collect(Port, [], none) of
        {0, none} -> fail("cargo built ~ts but named no library", [?CRATE]);
        {0, Library} -> Library;
        {Status, _} -> fail("building the recorder failed (cargo exit ~b), see above", [Status])
    end.

no_cargo() ->
    "cargo is not on PATH, and the recorder is a Rust library.\n"
    "  Install Rust (https://rustup.rs, or rustc and cargo of your system), or\n"
    "  name a ready-built library: SPOOR_NIF=/path/to/spoor_tracer.so".

cargo_args(Project) ->
    Locked = [
        "--locked"
     || filelib:is_regular(filename:join(Project, "Cargo.lock"))
    ],
    ["build", "--release"] ++ Locked ++
        ["-p", ?CRATE, "--message-format=json-render-diagnostics"].

%% Reads cargo's messages, one JSON object a line (diagnostics go to stderr).
%% `Line` holds the pieces of a line longer than the port's buffer.
collect(Port, Line, Library) ->
    receive
        {Port, {data, {noeol, Piece}}} ->
            collect(Port, [Line, Piece], Library);
        {Port, {data, {eol, Piece}}} ->
            collect(Port, [], artifact(iolist_to_binary([Line, Piece]), Library));
        {Port, {exit_status, Status}} ->
            {Status, Library}
    end.

%% The library named by this message, if it is the one about our crate. There
%% is no JSON decoder before OTP 27; cargo writes its messages without spaces.
artifact(Message, Library) ->
    Ours =
        contains(Message, <<"\"reason\":\"compiler-artifact\"">>) andalso
            contains(Message, <<"\"name\":\"", ?TARGET, "\"">>),
    case Ours andalso re:run(Message, "\"filenames\":\\[([^]]*)\\]", [{capture, [1], binary}]) of
        {match, [Names]} -> pick(filenames(Names), Library);
        _ -> Library
    end.

contains(Message, Part) ->
    binary:match(Message, Part) =/= nomatch.

filenames(Names) ->
    case re:run(Names, "\"((?:[^\"\\\\]|\\\\.)*)\"", [global, {capture, [1], binary}]) of
        {match, Found} -> [unescape(Name) || [Name] <- Found];
        nomatch -> []
    end.

unescape(Name) ->
    unicode:characters_to_list(re:replace(Name, "\\\\(.)", "\\1", [global, {return, binary}])).

pick(Names, Library) ->
    case [N || N <- Names, filename:extension(N) =:= ".so"] of
        [Name | _] -> Name;
        [] -> Library
    end.

install(From, To) ->
    {ok, Bytes} = ok(file:read_file(From), From),
    case file:read_file(To) of
        {ok, Bytes} -> ok;
        _ -> replace(Bytes, To)
    end.

replace(Bytes, To) ->
    ok = ok(filelib:ensure_dir(To), filename:dirname(To)),
    Tmp = To ++ "." ++ os:getpid() ++ ".tmp",
    ok = ok(file:write_file(Tmp, Bytes), Tmp),
    ok = ok(file:change_mode(Tmp, 8#755), Tmp),
    ok = ok(file:rename(Tmp, To), To).

ok({error, Reason}, Path) -> fail("~ts: ~ts", [Path, file:format_error(Reason)]);
ok(Result, _Path) -> Result.

env(Name, Default) ->
    case os:getenv(Name) of
        false -> Default;
        "" -> Default;
        Value -> Value
    end.

-spec fail(string(), [term()]) -> no_return().
fail(Format, Values) -> throw({failed, Format, Values}).
