%% @doc What came of a recording, or has come of it so far, in one map; and the
%% line that says so. Pure.
-module(spoor_summary).

-export([facts/3, summary/3, gone/1, gone/2, unfinished/2, quoted/1]).

%% @doc What was asked for, what matched, and what was recorded.
-spec facts(spoor:session(), spoor_spec:plan(), spoor_tracer:counts()) -> map().
facts(Session, #{presets := Presets, procs := Procs, options := Options} = Plan, Counts) ->
    Asked = maps:with([mode, time, max_events, rate, function_rate, sample, overload, args, label], Options),
    Told = maps:remove(stop_reason, Counts),
    maps:merge(maps:merge(Session, Asked), Told#{
        max_cost => share(Options),
        presets => Presets,
        what => spoor_spec:text(Plan),
        procs => Procs,
        lost => lost(Counts)
    }).

%% As it may be given.
-spec share(spoor_options:options()) -> float() | infinity.
share(#{max_cost := infinity}) -> infinity;
share(#{max_cost := Ppm}) -> Ppm / 1_000_000.

%% @doc The same of a recording that has ended: why, and what to do next.
-spec summary(spoor:session(), spoor_spec:plan(), spoor_tracer:counts()) -> spoor:summary().
summary(Session, #{presets := Presets} = Plan, #{path := Path, stop_reason := Reason} = Counts) ->
    Facts = facts(Session, Plan, Counts),
    Next = unicode:characters_to_binary(["spoor ", command(Presets), " ", quoted(Path)]),
    Facts#{phase := stopped, stop_reason => Reason, next => Next, text => text(Counts, ["Next: ", Next])}.

%% @doc The same of one whose file somebody has removed meanwhile.
-spec gone(spoor:summary(), spoor_tracer:counts()) -> spoor:summary().
gone(#{path := Path} = Summary, Counts) ->
    Summary#{next := <<>>, text := text(Counts, gone(Path))}.

%% @doc What is said of it, while it goes on and at its end.
-spec gone(binary()) -> binary().
gone(Path) ->
    <<"Its file is gone: ", (spoor_file:text(Path))/binary>>.

%% @doc The same of one whose last bytes are still on their way to the disk.
-spec unfinished(spoor:summary(), spoor_tracer:counts()) -> spoor:summary().
unfinished(#{next := Next} = Summary, Counts) ->
    Waits = "Its file is not complete yet, the disk is slow or the recorder does not answer. Then: ",
    Summary#{phase := stopping, text := text(Counts, [Waits, Next])}.

%% Events offered that the file does not hold.
-spec lost(spoor_tracer:counts()) -> non_neg_integer().
lost(#{overwritten := Overwritten, dropped := Dropped}) ->
    Overwritten + lists:sum(maps:values(Dropped)).

-spec command([spoor_spec:preset()]) -> string().
command(Presets) ->
    case {lists:member(calls, Presets), lists:member(scheduling, Presets)} of
        {true, _} -> "calls";
        {false, true} -> "sched";
        {false, false} -> "info"
    end.

%% @doc A path as a shell wants it.
-spec quoted(binary()) -> iodata().
quoted(Path) ->
    case re:run(Path, "^[A-Za-z0-9@._/+-]+$", [{capture, none}]) of
        match -> Path;
        nomatch -> quoted(Path, spoor_file:text(Path))
    end.

-spec quoted(binary(), binary()) -> iodata().
quoted(Path, Path) -> ["'", string:replace(Path, "'", "'\\''", all), "'"];
quoted(_NoText, Text) -> ["$'", Text, "'"].

-spec text(spoor_tracer:counts(), iodata()) -> binary().
text(Counts, Next) ->
    #{
        events := Events, overwritten := Overwritten, dropped := Dropped, thinned := Thinned,
        stop_reason := Reason
    } = Counts,
    Sampled = maps:get(sampled, Counts, none),
    Parts = [
        "spoor: ended (", Reason, "), ", integer_to_list(Events), " events",
        counted(Overwritten, became(Reason)),
        [dropped(Why, Count, Thinned) || {Why, Count} <- lists:sort(maps:to_list(Dropped))],
        sampled(Sampled),
        ". ", Next
    ],
    unicode:characters_to_binary(Parts).

%% What became of events that were stored and are not in the file.
-spec became(Reason :: binary()) -> string().
became(<<"the file was cut short", _/binary>>) -> " of them gone with its end";
became(_) -> " overwritten by later ones".

%% What a limit left out, and when.
-spec dropped(atom(), non_neg_integer(), map()) -> iodata().
dropped(Why, Count, Thinned) ->
    Name = atom_to_list(Why),
    case Thinned of
        #{Why := #{first_ms := First, last_ms := Last}} ->
            When = io_lib:format(", ~.3f to ~.3f s after the start", [First / 1000, Last / 1000]),
            counted(Count, [" dropped (", Name, When, ")"]);
        #{} ->
            counted(Count, [" dropped (", Name, ")"])
    end.

-spec sampled(none | map()) -> iodata().
sampled(none) -> "";
sampled(#{recorded := Recorded, processes := All}) -> io_lib:format(", ~b of ~b processes (sample)", [Recorded, All]).

-spec counted(non_neg_integer(), iodata()) -> iodata().
counted(0, _What) -> "";
counted(N, What) -> [", ", integer_to_list(N), What].
