%% @doc Options as the user gives them, checked and in the units used inside.
%% Pure. Every option has a default, and with the defaults a recording is bounded
%% in time and in space.
-module(spoor_options).

-export([parse/2, bytes/1, milliseconds/1]).

-export_type([options/0, name/0, given/0, duration/0, rate/0, share/0, bytes/0, procs/0, error/0]).

-define(TIME_MS, 15_000).
-define(MAX_EVENTS, 100_000_000).
-define(RING_BYTES, (64 * 1024 * 1024)).
-define(STREAM_BYTES, (1024 * 1024 * 1024)).
%% A stream has about so many segments, of at most so many bytes.
-define(SEGMENTS, 16).
-define(SEGMENT_BYTES, (64 * 1024 * 1024)).
-define(TERM_BYTES, 256).
%% What the recorder has room for, and what says anything.
-define(LEAST_TERM_BYTES, 64).
-define(MOST_TERM_BYTES, 4096).
%% More than any file or any patience, and a number that every part of Spoor holds.
-define(MOST, (1 bsl 48)).

-type given() :: #{name() => term()} | [{name(), term()} | name()].
-type name() ::
    procs | time | max_events | rate | function_rate | sample | max_cost | overload
    | ring | once | stream | segment | at_cap | compress | sync | dir | args | max_term_bytes | label
    | link | force | running | set_on_spawn | what | last | post | reason.
-type duration() ::
    non_neg_integer() | infinity | {pos_integer(), millisecond | second | minute | hour}.
-type rate() :: {Events :: pos_integer(), Per :: pos_integer() | duration()}.
%% So many in each stretch of time, counted from the start.
-type share() :: float() | {Percent :: number(), percent}.
-type bytes() :: pos_integer() | binary() | string().
-type procs() :: all | new | existing | [pid() | atom()].
%% One that is given alone is a list of one here.

-type options() :: #{
    procs := procs(),
    time := pos_integer() | infinity,
    max_events := pos_integer() | infinity,
    rate := {pos_integer(), pos_integer()} | infinity,
    function_rate := {pos_integer(), pos_integer()} | infinity,
    sample := pos_integer(),
    %% Parts in a million of a scheduler's time.
    max_cost := pos_integer() | infinity,
    overload := drop | stop,
    mode := ring | once | stream,
    %% Bytes for events, whatever the mode.
    ring := pos_integer(),
    segment := pos_integer() | undefined,
    at_cap := delete | stop,
    compress := none | lz4,
    sync := pos_integer() | infinity,
    dir := file:filename_all() | undefined,
    args := none | full,
    max_term_bytes := pos_integer(),
    label := binary(),
    link := boolean(),
    force := boolean(),
    running := boolean(),
    set_on_spawn := boolean(),
    what := term(),
    last := pos_integer() | infinity,
    post := non_neg_integer(),
    reason := term()
}.
%% Times in milliseconds, sizes in bytes.

-type error() :: {error, {bad_option, {term(), Why :: binary()}}}.

%% @doc Checks options; only those in `Allowed' may be given.
-spec parse(term(), [name()]) -> {ok, options()} | error().
parse(Given, Allowed) ->
    case pairs(Given) of
        {ok, Pairs} -> stored(parse(Pairs, Allowed, defaults()), Pairs);
        error -> bad(Given, <<"options are a map or a list of {Name, Value}">>)
    end.

-spec defaults() -> options().
defaults() ->
    #{
        procs => all,
        time => ?TIME_MS,
        max_events => ?MAX_EVENTS,
        rate => infinity,
        function_rate => infinity,
        sample => 1,
        max_cost => infinity,
        overload => drop,
        mode => ring,
        ring => ?RING_BYTES,
        segment => undefined,
        at_cap => delete,
        compress => none,
        sync => infinity,
        dir => undefined,
        args => none,
        max_term_bytes => ?TERM_BYTES,
        label => <<>>,
        link => true,
        force => false,
        running => false,
        set_on_spawn => true,
        what => undefined,
        last => infinity,
        post => 0,
        reason => undefined
    }.

-spec pairs(term()) -> {ok, [{term(), term()}]} | error.
pairs(Map) when is_map(Map) ->
    {ok, maps:to_list(Map)};
pairs(List) when is_list(List), length(List) >= 0 ->
    Pairs = [pair(Item) || Item <- List],
    case lists:member(error, Pairs) of
        true -> error;
        %% As in proplists, the first of a name counts.
        false -> {ok, lists:reverse(Pairs)}
    end;
pairs(_Other) ->
    error.

-spec pair(term()) -> {term(), term()} | error.
pair({_Name, _Value} = Pair) -> Pair;
pair(Name) when is_atom(Name) -> {Name, true};
pair(_Other) -> error.

-spec parse([{term(), term()}], [name()], options()) -> {ok, options()} | error().
parse([], _Allowed, Options) ->
    {ok, Options};
parse([{Name, Value} | Rest], Allowed, Options) ->
    case lists:member(Name, Allowed) andalso value(Name, Value) of
        {ok, Parsed} when Name =:= once; Name =:= stream ->
            parse(Rest, Allowed, Options#{mode := Name, ring := Parsed});
        {ok, Parsed} ->
            parse(Rest, Allowed, Options#{Name := Parsed});
        {error, Why} -> bad(Name, ["wanted is ", Why, ", not ", text(Value)]);
        false -> bad(Name, ["no such option here, only ", names(Allowed)])
    end.

%% Options that belong to each other.
-spec stored({ok, options()} | error(), [{term(), term()}]) -> {ok, options()} | error().
stored({ok, #{mode := Mode, ring := Bytes, segment := Segment} = Options}, Pairs) ->
    Given = [Name || {Name, _} <- Pairs],
    Modes = [Name || Name <- [ring, once, stream], lists:member(Name, Given)],
    OfStreams = [Name || Name <- [segment, at_cap, compress], lists:member(Name, Given)],
    case {Modes, OfStreams, Mode} of
        {[_, Other | _], _, _} ->
            bad(Other, <<"ring, once and stream exclude each other">>);
        {_, [Name | _], Mode} when Mode =/= stream ->
            bad(Name, <<"only a stream has segments: give stream => Bytes, too">>);
        {_, _, stream} when Segment =:= undefined ->
            {ok, Options#{segment := min(max(Bytes div ?SEGMENTS, 1), ?SEGMENT_BYTES)}};
        _ ->
            {ok, Options}
    end;
stored({error, _} = Error, _Pairs) ->
    Error.

-spec bad(term(), iodata()) -> error().
bad(Name, Why) ->
    {error, {bad_option, {Name, unicode:characters_to_binary(Why)}}}.

-spec value(name(), term()) -> {ok, term()} | {error, iodata()}.
value(procs, Value) -> procs(Value);
value(time, Value) -> milliseconds(Value);
value(last, Value) -> milliseconds(Value);
value(max_events, infinity) -> {ok, infinity};
value(max_events, Value) -> positive(Value);
value(rate, Value) -> rate(Value);
value(function_rate, Value) -> rate(Value);
value(sample, Value) -> sample(Value);
value(max_cost, Value) -> share(Value);
value(overload, Value) -> one_of(Value, [drop, stop]);
value(max_term_bytes, Value) -> term_bytes(Value);
value(ring, Value) -> bytes(Value);
value(once, true) -> {ok, ?RING_BYTES};
value(once, Value) -> bytes(Value);
value(stream, true) -> {ok, ?STREAM_BYTES};
value(stream, Value) -> bytes(Value);
value(segment, Value) -> bytes(Value);
value(at_cap, Value) -> one_of(Value, [delete, stop]);
value(compress, Value) -> one_of(Value, [none, lz4]);
value(sync, Value) -> milliseconds(Value);
value(post, 0) -> {ok, 0};
value(post, Value) -> finite(milliseconds(Value));
value(dir, Value) -> directory(Value);
value(args, Value) -> one_of(Value, [none, full]);
value(label, Value) -> {ok, label(Value)};
value(what, Value) -> {ok, Value};
value(reason, Value) -> {ok, Value};
value(_Switch, Value) -> one_of(Value, [true, false]).

-spec procs(term()) -> {ok, procs()} | {error, iodata()}.
procs(Word) when Word =:= all; Word =:= new; Word =:= existing -> {ok, Word};
procs(Pid) when is_pid(Pid), node(Pid) =:= node() -> {ok, [Pid]};
procs(Name) when is_atom(Name), not is_boolean(Name), Name =/= none, Name =/= undefined -> {ok, [Name]};
procs(List) when length(List) > 0 ->
    case lists:all(fun is_process/1, List) of
        true -> {ok, lists:usort(List)};
        false -> procs([])
    end;
procs(_Other) ->
    {error, <<"all, new, existing, a local pid or registered name, or a list of these">>}.

-spec is_process(term()) -> boolean().
is_process(Pid) when is_pid(Pid) -> node(Pid) =:= node();
is_process(Name) -> is_atom(Name).

%% @doc Milliseconds of a duration.
-spec milliseconds(term()) -> {ok, pos_integer() | infinity} | {error, iodata()}.
milliseconds(infinity) -> {ok, infinity};
milliseconds(Ms) when is_integer(Ms), Ms > 0, Ms =< ?MOST -> {ok, Ms};
milliseconds({N, Unit}) when is_integer(N), N > 0 ->
    case unit_ms(Unit) of
        {ok, Ms} -> milliseconds(N * Ms);
        error -> milliseconds(error)
    end;
milliseconds(_Other) ->
    {error, <<"a number of milliseconds, {N, millisecond | second | minute | hour}, or infinity">>}.

-spec finite({ok, pos_integer() | infinity} | {error, iodata()}) -> {ok, pos_integer()} | {error, iodata()}.
finite({ok, Ms}) when is_integer(Ms) -> {ok, Ms};
finite(_Other) -> {error, <<"a number of milliseconds, or {N, millisecond | second | minute | hour}">>}.

%% The recorder counts what is left of a rate in 32 bits.
-spec rate(term()) -> {ok, {pos_integer(), pos_integer()} | infinity} | {error, iodata()}.
rate(infinity) -> {ok, infinity};
rate({Events, Per}) when is_integer(Events), Events > 0, Events < 1 bsl 32 ->
    case milliseconds(Per) of
        {ok, Ms} when is_integer(Ms) -> {ok, {Events, Ms}};
        _ -> rate(error)
    end;
rate(_Other) ->
    {error, <<"{Events, Milliseconds}, {Events, {N, second}} and the like, or infinity">>}.

-spec sample(term()) -> {ok, pos_integer()} | {error, iodata()}.
sample(N) when is_integer(N), N > 0, N =< 1_000_000 -> {ok, N};
sample(_Other) -> {error, <<"N from 1 to 1000000, for one process in N">>}.

%% As parts in a million.
-spec share(term()) -> {ok, pos_integer() | infinity} | {error, iodata()}.
share(infinity) -> {ok, infinity};
share({Percent, percent}) when is_number(Percent), Percent > 0, Percent =< 100 -> share(Percent / 100);
share(Share) when is_float(Share), Share >= 1.0e-5, Share =< 1.0 -> {ok, round(Share * 1_000_000)};
share(_Other) -> {error, <<"a share of a scheduler's time like 0.05 or {5, percent}, at least 0.001 percent, or infinity">>}.

-spec unit_ms(term()) -> {ok, pos_integer()} | error.
unit_ms(millisecond) -> {ok, 1};
unit_ms(second) -> {ok, 1000};
unit_ms(minute) -> {ok, 60_000};
unit_ms(hour) -> {ok, 3_600_000};
unit_ms(_Other) -> error.

%% @doc Bytes of a size: `65536', `<<"64KiB">>', `"1 GiB"'.
-spec bytes(term()) -> {ok, pos_integer()} | {error, iodata()}.
bytes(N) when is_integer(N), N > 0, N =< ?MOST -> {ok, N};
bytes(Text) when is_binary(Text); is_list(Text) ->
    Pattern = "^\\s*(\\d{1,12})\\s*(|B|kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)\\s*$",
    try re:run(Text, Pattern, [{capture, all_but_first, list}]) of
        {match, [Digits, Unit]} -> bytes(list_to_integer(Digits) * unit_bytes(Unit));
        nomatch -> bytes(error)
    catch
        error:badarg -> bytes(error)
    end;
bytes(_Other) ->
    {error, <<"a number of bytes or a text like <<\"64MiB\">>">>}.

-spec unit_bytes(string()) -> pos_integer().
unit_bytes("kB") -> 1000;
unit_bytes("KB") -> 1000;
unit_bytes("KiB") -> 1024;
unit_bytes("MB") -> 1_000_000;
unit_bytes("MiB") -> 1024 * 1024;
unit_bytes("GB") -> 1_000_000_000;
unit_bytes("GiB") -> 1024 * 1024 * 1024;
unit_bytes("TB") -> 1_000_000_000_000;
unit_bytes("TiB") -> 1 bsl 40;
unit_bytes(_Bytes) -> 1.

-spec positive(term()) -> {ok, pos_integer()} | {error, iodata()}.
positive(N) when is_integer(N), N > 0, N =< ?MOST -> {ok, N};
positive(_Other) -> {error, <<"a positive integer">>}.

-spec term_bytes(term()) -> {ok, pos_integer()} | {error, iodata()}.
term_bytes(N) when is_integer(N), N >= ?LEAST_TERM_BYTES, N =< ?MOST_TERM_BYTES -> {ok, N};
term_bytes(_Other) ->
    {error, ["bytes from ", integer_to_list(?LEAST_TERM_BYTES), " to ", integer_to_list(?MOST_TERM_BYTES)]}.

-spec directory(term()) -> {ok, file:filename_all()} | {error, iodata()}.
directory(Dir) when is_binary(Dir), Dir =/= <<>> -> {ok, Dir};
directory([_ | _] = Dir) ->
    case io_lib:char_list(Dir) of
        true -> {ok, Dir};
        false -> directory(error)
    end;
directory(_Other) ->
    {error, <<"the path of a directory">>}.

-spec one_of(term(), [atom()]) -> {ok, atom()} | {error, iodata()}.
one_of(Value, Values) ->
    case lists:member(Value, Values) of
        true -> {ok, Value};
        false -> {error, lists:join(" or ", [atom_to_list(V) || V <- Values])}
    end.

-spec label(term()) -> binary().
label(Text) when is_binary(Text) -> Text;
label(Term) ->
    case io_lib:char_list(Term) of
        true -> unicode:characters_to_binary(Term);
        false -> unicode:characters_to_binary(text(Term))
    end.

-spec text(term()) -> io_lib:chars().
text(Term) -> io_lib:format("~0tP", [Term, 20]).

-spec names([name()]) -> iodata().
names(Names) -> lists:join(", ", [atom_to_list(Name) || Name <- lists:sort(Names)]).
