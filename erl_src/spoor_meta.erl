%% @doc What an analyst needs to know years later of the node and of what was
%% asked for. The recorder itself adds machine, operating system and clocks.
-module(spoor_meta).

-export([entries/1]).

%% A recording has little room for this; a long list of patterns is cut.
-define(TEXT_BYTES, 4096).

-type entry() :: {binary(), binary()}.

%% @doc The entries for a recording of this plan.
-spec entries(spoor_spec:plan()) -> [entry()].
entries(Plan) ->
    node_entries() ++ plan_entries(Plan).

-spec node_entries() -> [entry()].
node_entries() ->
    Facts = [
        {<<"node">>, atom_to_binary(node())},
        {<<"otp_release">>, list_to_binary(erlang:system_info(otp_release))},
        {<<"otp_version">>, otp_version()},
        {<<"erts_version">>, list_to_binary(erlang:system_info(version))},
        {<<"boot_time">>, boot_time()},
        {<<"spoor_version">>, version_of(spoor)},
        {<<"elixir_version">>, version_of(elixir)}
    ],
    Numbers = [
        schedulers, schedulers_online, dirty_cpu_schedulers, dirty_io_schedulers,
        process_limit, port_limit
    ],
    [Fact || {_, Text} = Fact <- Facts, Text =/= <<>>] ++
        [{atom_to_binary(N), integer_to_binary(erlang:system_info(N))} || N <- Numbers].

-spec plan_entries(spoor_spec:plan()) -> [entry()].
plan_entries(Plan) ->
    #{presets := Presets, flags := Flags, port_flags := PortFlags, procs := Procs, options := Options} = Plan,
    #{args := Args, label := Label, sample := Sample} = Options,
    [
        {<<"preset">>, words(Presets)},
        {<<"what">>, cut(spoor_spec:patterns_text(Plan))},
        {<<"flags">>, words(lists:usort(Flags ++ PortFlags))},
        {<<"procs">>, cut(text(Procs))},
        {<<"limits">>, limits(Options)},
        {<<"args">>, text(Args)},
        {<<"label">>, cut(Label)}
    ] ++ [{<<"sample">>, integer_to_binary(Sample)} || Sample > 1].

-spec limits(spoor_options:options()) -> binary().
limits(#{time := Time, max_events := MaxEvents, mode := Mode, ring := Bytes} = Options) ->
    list_to_binary([
        "time ", duration(Time), ", max_events ", text(MaxEvents),
        ", ", atom_to_list(Mode), " ", text(Bytes), " bytes", segments(Options),
        [[", written to the disk every ", duration(Sync)] || #{sync := Sync} <- [Options], Sync =/= infinity],
        thinning(Options)
    ]).

-spec segments(spoor_options:options()) -> iodata().
segments(#{mode := stream, segment := Segment, at_cap := AtCap, compress := Compress}) ->
    [
        " in segments of ", text(Segment), ", then ", atom_to_list(AtCap),
        [[", packed by ", atom_to_list(Compress)] || Compress =/= none]
    ];
segments(_Options) ->
    "".

%% Those that are set.
-spec thinning(spoor_options:options()) -> iodata().
thinning(#{sample := Sample, max_cost := Cost, overload := Overload} = Options) ->
    Rates = [
        [", ", atom_to_list(Name), " ", text(N), " in ", duration(Ms)]
     || Name <- [rate, function_rate], {N, Ms} <- [maps:get(Name, Options)]
    ],
    Others = [
        [[", one process in ", text(Sample)] || Sample > 1],
        [[", max_cost ", io_lib:format("~.3f", [Cost / 10_000]), " %"] || is_integer(Cost)]
    ],
    [Rates, Others, [", more ends it" || Overload =:= stop]].

-spec duration(pos_integer() | infinity) -> iodata().
duration(infinity) -> "infinity";
duration(Ms) -> [integer_to_list(Ms), " ms"].

-spec words([atom()]) -> binary().
words(Atoms) ->
    list_to_binary(lists:join(" ", [atom_to_list(Atom) || Atom <- Atoms])).

-spec text(term()) -> binary().
text(Term) ->
    unicode:characters_to_binary(io_lib:format("~0tp", [Term])).

-spec cut(binary()) -> binary().
cut(Text) when byte_size(Text) =< ?TEXT_BYTES -> Text;
cut(Text) -> <<(binary:part(Text, 0, ?TEXT_BYTES))/binary, " ...">>.

%% The release, where the exact version is not installed beside it.
-spec otp_version() -> binary().
otp_version() ->
    Release = erlang:system_info(otp_release),
    File = filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"]),
    case file:read_file(File) of
        {ok, Text} -> string:trim(Text);
        {error, _} -> list_to_binary(Release)
    end.

-spec version_of(atom()) -> binary().
version_of(App) ->
    case application:get_key(App, vsn) of
        {ok, Version} -> unicode:characters_to_binary(Version);
        undefined -> <<>>
    end.

-spec boot_time() -> binary().
boot_time() ->
    Native = erlang:system_info(start_time) + erlang:time_offset(),
    Ms = erlang:convert_time_unit(Native, native, millisecond),
    list_to_binary(calendar:system_time_to_rfc3339(Ms, [{unit, millisecond}, {offset, "Z"}])).
