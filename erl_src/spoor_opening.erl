%% @doc Opens the file of a recording and prepares its tracing, for the process that calls.
%%
%% Everything that can be refused is, before anything of the VM is changed.
-module(spoor_opening).

-export([open/1]).

-export_type([opened/0]).

-type opened() :: #{
    id := spoor_tracer:state(),
    path := binary(),
    tracing := spoor_tracing:tracing(),
    warnings := [binary()]
}.

%% @doc Nothing is traced yet. What is refused says why.
-spec open(spoor_spec:plan()) -> {ok, opened()} | {error, term()}.
open(Plan) ->
    Steps = [
        fun hazards/1, fun place/1, fun functions/1, fun targets/1, fun conflicts/1, fun file/1
    ],
    case in_turn(Steps, #{plan => Plan, api => spoor_tracing:api()}) of
        {ok, Opened} -> {ok, maps:with([id, path, tracing, warnings], Opened)};
        {error, _} = Error -> Error
    end.

-spec in_turn([fun((map()) -> {ok, map()} | {error, term()})], map()) -> {ok, map()} | {error, term()}.
in_turn([], Facts) ->
    {ok, Facts};
in_turn([Step | Rest], Facts) ->
    case Step(Facts) of
        {ok, Found} -> in_turn(Rest, maps:merge(Facts, Found));
        {error, _} = Error -> Error
    end.

-spec hazards(map()) -> {ok, map()} | {error, term()}.
hazards(#{plan := Plan}) ->
    case spoor_hazard:check(Plan, spoor_hazard:this_vm()) of
        {ok, Warnings} -> {ok, #{warnings => Warnings}};
        {error, _} = Error -> Error
    end.

%% Before OTP 27 one recording at a time may trace.
-spec place(map()) -> {ok, map()} | {error, term()}.
place(#{plan := #{procs := Procs}, api := Api}) ->
    Use =
        case Procs =/= none andalso not spoor_tracing:is_session_api(Api) of
            true -> only;
            false -> shared
        end,
    case spoor_registry:claim(Use) of
        ok when Use =:= only -> ok = spoor_tracing:clear_left(), {ok, #{}};
        ok -> {ok, #{}};
        {error, _} = Error -> Error
    end.

-spec functions(map()) -> {ok, map()} | {error, term()}.
functions(#{plan := #{patterns := Patterns}}) ->
    case spoor_functions:resolve(Patterns) of
        ok -> {ok, #{}};
        {error, _} = Error -> Error
    end.

-spec targets(map()) -> {ok, map()} | {error, term()}.
targets(#{plan := #{procs := Procs}}) ->
    case spoor_tracing:targets(Procs) of
        {ok, Targets} -> {ok, #{targets => Targets}};
        {error, _} = Error -> Error
    end.

-spec conflicts(map()) -> {ok, map()} | {error, term()}.
conflicts(#{plan := Plan, api := Api, targets := Targets}) ->
    case spoor_conflict:check(Api, Plan, Targets) of
        ok -> {ok, #{}};
        {error, _} = Error -> Error
    end.

-spec file(map()) -> {ok, map()} | {error, term()}.
file(#{plan := #{options := #{dir := Dir}}} = Facts) ->
    case spoor_file:path(Dir) of
        {ok, Path} -> file(Path, Facts);
        {error, _} = Error -> Error
    end.

-spec file(binary(), map()) -> {ok, map()} | {error, term()}.
file(Path, #{plan := Plan, targets := Targets} = Facts) ->
    case spoor_tracer:open(config(Path, Plan)) of
        %% Left by an earlier VM of the same second and process id, as in a container.
        {error, {file_error, Path, eexist}} ->
            file(Facts);
        {ok, Id} ->
            Tracing = spoor_tracing:prepare(Plan, Targets, Id),
            ok = spoor_registry:tracing(Tracing),
            ok = spoor_adoption:look(filename:dirname(Path)),
            {ok, #{id => Id, path => Path, tracing => Tracing}};
        {error, _} = Error ->
            Error
    end.

-spec config(binary(), spoor_spec:plan()) -> spoor_tracer:config().
config(Path, #{options := Options} = Plan) ->
    #{
        time := Time, max_events := MaxEvents, ring := Ring, args := Content,
        max_term_bytes := MaxTermBytes
    } = Options,
    maps:merge(maps:merge(thinning(Plan), storage(Options)), #{
        path => Path,
        ring => Ring,
        owner => self(),
        processes => erlang:system_info(process_limit),
        time => zero_if_infinite(Time),
        max_events => zero_if_infinite(MaxEvents),
        content => Content,
        max_term_bytes => MaxTermBytes,
        meta => spoor_meta:entries(Plan)
    }).

-spec storage(spoor_options:options()) -> map().
storage(#{mode := Mode, sync := Sync} = Options) ->
    Stored = maps:merge(segments(Options), #{mode => Mode}),
    case Sync of
        infinity -> Stored;
        Ms -> Stored#{sync => Ms}
    end.

-spec segments(spoor_options:options()) -> map().
segments(#{mode := stream, segment := Segment, at_cap := AtCap, compress := Compress}) ->
    #{segment => Segment, keep_first => AtCap =:= stop, packs => Compress =/= none};
segments(_Options) ->
    #{}.

%% What thins the recording. A process out of the sample may be taken off tracing
%% where each process is traced for itself: those it spawns are looked at anew.
-spec thinning(spoor_spec:plan()) -> map().
thinning(#{procs := Procs, options := #{overload := Overload} = Options}) ->
    Limits = maps:with([rate, function_rate, sample], Options),
    Cost = #{max_cost_ppm => maps:get(max_cost, Options)},
    Finite = maps:filter(fun(_, Value) -> Value =/= infinity end, maps:merge(Limits, Cost)),
    Finite#{
        sample_removes => Procs =:= all orelse Procs =:= new,
        overload_stops => Overload =:= stop
    }.

-spec zero_if_infinite(pos_integer() | infinity) -> non_neg_integer().
zero_if_infinite(infinity) -> 0;
zero_if_infinite(N) -> N.
