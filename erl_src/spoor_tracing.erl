%% @doc Turns tracing on and off for one recording, and sees whether it is still on.
%%
%% From OTP 27 a recording has a trace session of its own and meets nobody.
%% Before, the VM has one tracer for each process: it is never taken from
%% somebody else (see {@link spoor_conflict}), and only what is ours is turned off.
%%
%% There, processes are gone through one by one, never all in one call: that
%% would stop all schedulers, and race with dirty ones (OTP-19034).
-module(spoor_tracing).

-export([targets/1, prepare/3, start/1, stop/1, check/1, is_gc_traced_beside/1, sweep/1]).
-export([api/0, tracer_of/1, is_session_api/1, clear_left/0]).

-export_type([api/0, targets/0, tracing/0, counts/0]).

-type api() :: {session, module()} | legacy.
-type targets() :: none | all | new | existing | [pid()].

-type tracing() :: #{
    api := api(),
    tracer := {module(), spoor_tracer:state()},
    targets := targets(),
    plan := spoor_spec:plan(),
    %% What the VM's own session was told of messages before.
    messages_before := [{send | 'receive', spoor_requests:match_spec() | boolean()}],
    %% The strong handle of our session: the session lives as long as it.
    session := term(),
    %% Of one that sees who begins to trace, where garbage collections are traced.
    guard := term(),
    %% Modules that a pattern names, with a function of each.
    probes := [{spoor_spec:pattern(), mfa()}]
}.

-type counts() :: #{functions := non_neg_integer(), processes := non_neg_integer()}.

%% Times that newly born processes are looked for when tracing is turned off.
%% Whatever a chain of them hides is turned off by the tracer itself, which
%% answers `remove' as soon as the recording is closed.
-define(PASSES, 5).

%% Before OTP 27: is anything of ours set in the VM's own session?
-define(LEFT, {?MODULE, left}).

%% How often, and after how many milliseconds each, it is looked whether those who began
%% to trace before the guard stood are done.
-define(BEGINNING_LOOKS, 100).
-define(BEGINNING_MS, 10).

%% @doc How this VM is traced. The session module is not named in the code, as
%% it does not exist before OTP 27, nor looked for there: to find that there is none takes
%% a walk through the code path.
-spec api() -> api().
api() ->
    case list_to_integer(erlang:system_info(otp_release)) >= 27 of
        true -> session_api(binary_to_atom(<<"trace">>));
        false -> legacy
    end.

-spec session_api(module()) -> api().
session_api(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            case erlang:function_exported(Module, session_create, 3) of
                true -> {session, Module};
                false -> legacy
            end;
        {error, _} ->
            legacy
    end.

%% @doc Do recordings have sessions of their own?
-spec is_session_api(api()) -> boolean().
is_session_api(legacy) -> false;
is_session_api({session, _}) -> true.

%% @doc The processes meant; names are looked up once, here.
-spec targets(spoor_spec:procs()) -> {ok, targets()} | {error, {no_process, pid() | atom()}}.
targets(Listed) when is_list(Listed) ->
    Found = [{Process, pid_of(Process)} || Process <- Listed],
    case [Process || {Process, undefined} <- Found] of
        [] -> {ok, lists:usort([Pid || {_, Pid} <- Found, is_pid(Pid)])};
        [Missing | _] -> {error, {no_process, Missing}}
    end;
targets(Word) ->
    {ok, Word}.

-spec pid_of(pid() | atom()) -> pid() | undefined.
pid_of(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> Pid;
        _PortOrNothing -> undefined
    end;
pid_of(Pid) ->
    case is_process_alive(Pid) of
        true -> Pid;
        false -> undefined
    end.

%% @doc Everything that will have to be turned off, before anything is turned on.
-spec prepare(spoor_spec:plan(), targets(), spoor_tracer:state()) -> tracing().
prepare(#{procs := Procs, patterns := Patterns} = Plan, Targets, State) ->
    Api = api(),
    Tracer = {spoor_tracer, State},
    #{
        api => Api,
        tracer => Tracer,
        targets => Targets,
        plan => Plan,
        messages_before => [Known || Api =:= legacy, Known <- spoor_requests:known()],
        session => Procs =/= none andalso session(Api, <<"spoor_">>, Tracer),
        guard => Procs =/= none andalso guards_gc(Plan) andalso session(Api, <<"spoor_guard_">>, {spoor_tracer, -State}),
        probes => [{P, Probe} || P <- Patterns, Probe <- [spoor_functions:probe(P)], Probe =/= none]
    }.

%% Where a session's meta trace goes to the caller instead of the tracer (GH-8614), a
%% guard would only put messages into mailboxes of others.
-spec guards_gc(spoor_spec:plan()) -> boolean().
guards_gc(#{flags := Flags}) ->
    lists:member(garbage_collection, Flags) andalso not spoor_hazard:has(<<"GH-8614">>, spoor_hazard:this_vm()).

-spec session(api(), binary(), {module(), integer()}) -> term().
session(legacy, _Name, _Tracer) ->
    none;
session({session, Api}, Name, {_, State} = Tracer) ->
    %% Atoms are never freed: there are only as many names as open recordings.
    Numbered = binary_to_atom(<<Name/binary, (integer_to_binary(abs(State) rem 16))/binary>>),
    Api:session_create(Numbered, Tracer, []).

%% @doc Turns tracing on, functions first: from the first event of a process on
%% everything asked for is there. On an error the caller stops it.
-spec start(tracing()) -> {ok, counts()} | {error, term()}.
start(#{targets := none}) ->
    {ok, #{functions => 0, processes => 0}};
start(#{plan := #{patterns := Patterns, flags := Flags, port_flags := PortFlags}} = Tracing) ->
    ok = remember(Tracing),
    ok = set_messages(Tracing),
    %% First, so that a module that is loaded meanwhile is in one of the two.
    _ = names_all(Patterns) andalso set_pattern(Tracing, on_load, true),
    Matched = [{Pattern, set_pattern(Tracing, Pattern, true)} || Pattern <- Patterns],
    case [Pattern || {Pattern, 0} <- Matched] of
        [Pattern | _] ->
            {error, {no_match, Pattern}};
        [] ->
            _ = PortFlags =/= [] andalso trace_ports(Tracing, PortFlags),
            Functions = lists:sum([Count || {_, Count} <- Matched]),
            case guard_gc(Tracing) of
                ok -> started(met(trace_processes(Tracing, Flags), Tracing), Functions);
                {error, _} = Error -> Error
            end
    end.

%% Two sessions that trace the garbage collections of one process end the VM (GH-11624).
%% Who begins to trace is seen before anything is traced: from then on the recorder leaves
%% garbage collections to others, until `spoor_recording' has looked whether they trace
%% them. Our own processes are sensitive, so that they are not seen.
-spec guard_gc(tracing()) -> ok | {error, {unsafe_on_otp, spoor_hazard:bug()}}.
guard_gc(#{api := {session, Api}, guard := Guard, plan := Plan, targets := Targets}) when Guard =/= false ->
    _ = [Api:function(Guard, Begin, [], [meta]) || Begin <- [{erlang, trace, 3}, {Api, process, 4}]],
    %% Who began since it was asked last was not seen. Who had called before the guard
    %% stood, and waits for what the VM lets one process at a time do, has set no flag yet.
    case is_done(Api, ?BEGINNING_LOOKS) orelse is_forced(Plan) of
        true -> spoor_conflict:check({session, Api}, Plan, Targets);
        false -> {error, {unsafe_on_otp, <<"GH-11624">>}}
    end;
guard_gc(_Tracing) ->
    ok.

-spec is_done(module(), non_neg_integer()) -> boolean().
is_done(_Api, 0) ->
    false;
is_done(Api, Looks) ->
    case spoor_conflict:is_beginning(Api) of
        true -> timer:sleep(?BEGINNING_MS), is_done(Api, Looks - 1);
        false -> true
    end.

-spec is_forced(spoor_spec:plan()) -> boolean().
is_forced(#{options := #{force := Force}}) -> Force.

%% @doc Does anybody else trace garbage collections, or may be about to?
-spec is_gc_traced_beside(tracing()) -> boolean().
is_gc_traced_beside(#{api := {session, Api}, session := Session}) ->
    spoor_conflict:is_beginning(Api) orelse spoor_conflict:is_gc_traced_beside(Api, Session).

%% Those too that wait all the time are in a sample, or are not.
-spec met({ok, non_neg_integer()} | {error, term()}, tracing()) -> {ok, non_neg_integer()} | {error, term()}.
met({ok, Processes}, #{tracer := {_, State}, targets := Targets, plan := #{options := #{sample := Sample}}}) when
    Sample > 1, Targets =/= new
->
    Traced =
        case is_list(Targets) of
            true -> Targets;
            false -> processes()
        end,
    ok = meet(State, Traced),
    {ok, Processes};
met(Traced, _Tracing) ->
    Traced.

-spec meet(spoor_tracer:state(), [pid()]) -> ok.
meet(State, [_ | _] = Processes) -> meet(State, spoor_tracer:meet(State, Processes));
meet(_State, _NoneOrEnded) -> ok.

-spec started({ok, non_neg_integer()} | {error, term()}, non_neg_integer()) ->
    {ok, counts()} | {error, term()}.
started({ok, Processes}, Functions) -> {ok, #{functions => Functions, processes => Processes}};
started({error, Reason}, _Functions) -> {error, Reason}.

%% Those of requests are told from others by the VM itself.
-spec set_messages(tracing()) -> ok.
set_messages(#{plan := #{messages := all}}) ->
    ok;
set_messages(#{plan := #{messages := requests}, api := {session, Api}, session := Session}) ->
    _ = Api:send(Session, spoor_requests:match_spec(send), []),
    _ = Api:recv(Session, spoor_requests:match_spec('receive'), []),
    ok;
set_messages(#{plan := #{messages := requests}, api := legacy}) ->
    spoor_requests:set([{Event, spoor_requests:match_spec(Event)} || Event <- [send, 'receive']]).

%% The VM's own session belongs to all.
-spec restore_messages(tracing()) -> ok.
restore_messages(#{plan := #{messages := requests}, messages_before := Before}) -> spoor_requests:set(Before);
restore_messages(_Tracing) -> ok.

%% Patterns of all modules are for those too that are loaded later, or again.
-spec names_all([spoor_spec:pattern()]) -> boolean().
names_all(Patterns) -> lists:keymember('_', 1, Patterns).

-spec set_pattern(tracing(), spoor_spec:pattern() | on_load, boolean()) -> non_neg_integer().
set_pattern(#{api := {session, Api}, session := Session}, Pattern, Spec) ->
    Api:function(Session, Pattern, Spec, [local]);
set_pattern(#{api := legacy}, Pattern, Spec) ->
    erlang:trace_pattern(Pattern, Spec, [local]).

-spec trace_processes(tracing(), [spoor_spec:flag()]) -> {ok, non_neg_integer()} | {error, term()}.
trace_processes(#{targets := Targets} = Tracing, Flags) when is_list(Targets) ->
    each(Targets, Tracing, Flags);
trace_processes(#{api := {session, Api}, session := Session, targets := Word}, Flags) ->
    {ok, Api:process(Session, Word, true, Flags)};
trace_processes(#{api := legacy, targets := Word} = Tracing, Flags) ->
    _ = Word =/= existing andalso legacy(new_processes, Tracing, Flags),
    case Word of
        new -> {ok, 0};
        _ -> each(processes(), Tracing, Flags)
    end.

-spec trace_ports(tracing(), [spoor_spec:flag()]) -> ok.
trace_ports(#{api := {session, Api}, session := Session, targets := Word}, Flags) ->
    _ = Api:port(Session, Word, true, Flags),
    ok;
trace_ports(#{api := legacy, targets := Word} = Tracing, Flags) ->
    _ = Word =/= existing andalso legacy(new_ports, Tracing, Flags),
    _ = Word =/= new andalso each(erlang:ports(), Tracing, Flags),
    ok.

%% Processes that die meanwhile are left out; one traced by somebody else ends it.
-spec each([pid() | port()], tracing(), [spoor_spec:flag()]) ->
    {ok, non_neg_integer()} | {error, {tracer_conflict, [pid() | port()]}}.
each(Targets, Tracing, Flags) ->
    each(Targets, Tracing, Flags, 0).

-spec each([pid() | port()], tracing(), [spoor_spec:flag()], non_neg_integer()) ->
    {ok, non_neg_integer()} | {error, {tracer_conflict, [pid() | port()]}}.
each([], _Tracing, _Flags, Count) ->
    {ok, Count};
each([Target | Rest], Tracing, Flags, Count) ->
    try one(Target, Tracing, Flags) of
        Traced -> each(Rest, Tracing, Flags, Count + Traced)
    catch
        error:badarg ->
            case tracer_of(Target) of
                none -> each(Rest, Tracing, Flags, Count);
                _Theirs -> {error, {tracer_conflict, [Target]}}
            end
    end.

-spec one(pid() | port(), tracing(), [spoor_spec:flag()]) -> non_neg_integer().
one(Pid, #{api := {session, Api}, session := Session}, Flags) ->
    Api:process(Session, Pid, true, Flags);
one(Target, #{api := legacy} = Tracing, Flags) ->
    legacy(Target, Tracing, Flags).

-spec legacy(pid() | port() | new_processes | new_ports, tracing(), [spoor_spec:flag()]) ->
    non_neg_integer().
legacy(Target, #{tracer := {Module, State}}, Flags) ->
    erlang:trace(Target, true, [{tracer, Module, State} | Flags]).

%% @doc Turns everything off that {@link start/1} turned on, or a part of it.
-spec stop(tracing()) -> ok.
stop(#{api := {session, Api}, session := Session, guard := Guard, tracer := Tracer}) when Session =/= false ->
    ok = sequential_off(Tracer),
    %% The guard goes last.
    lists:foreach(fun(Ours) -> destroy(Api, Ours) end, [Session | [Guard || Guard =/= false]]);
stop(#{tracer := Tracer, plan := #{patterns := Patterns}} = Tracing) ->
    ok = sweep(Tracer),
    ok = restore_messages(Tracing),
    _ = names_all(Patterns) andalso set_pattern(Tracing, on_load, false),
    lists:foreach(fun(Pattern) -> clear_pattern(Tracing, Pattern) end, Patterns),
    forget(Tracing).

%% What all of the application could not turn off when it was killed at once stays in the
%% VM's own session. That there is something outlives its processes: a number of which
%% the VM keeps the only reference, as to replace such a term costs all processes.
-spec remember(tracing()) -> ok.
remember(#{api := legacy}) ->
    Mark =
        case persistent_term:get(?LEFT, none) of
            none ->
                New = atomics:new(1, []),
                ok = persistent_term:put(?LEFT, New),
                New;
            Known ->
                Known
        end,
    atomics:put(Mark, 1, 1);
remember(_Tracing) ->
    ok.

-spec forget(tracing()) -> ok.
forget(#{api := legacy}) -> forget();
forget(_Tracing) -> ok.

-spec forget() -> ok.
forget() ->
    case persistent_term:get(?LEFT, none) of
        none -> ok;
        Mark -> atomics:put(Mark, 1, 0)
    end.

%% @doc Takes away what a recording of this VM left that was killed with all that would
%% have cleaned up. Only while no recording traces.
-spec clear_left() -> ok.
clear_left() ->
    Mark = persistent_term:get(?LEFT, none),
    case Mark =/= none andalso atomics:get(Mark, 1) of
        1 ->
            Functions = [{M, F, A} || {M, _} <- code:all_loaded(), {F, A} <- M:module_info(functions)],
            lists:foreach(
                fun(Function) -> erlang:trace_pattern(Function, false, [local]) end,
                [Function || Function <- [on_load | Functions], is_left(Function)]
            ),
            ok = spoor_requests:set([
                {Event, true}
             || {Event, Spec} <- spoor_requests:known(), Spec =:= spoor_requests:match_spec(Event)
            ]),
            forget();
        _ ->
            ok
    end.

%% Ours have no match specification: others that were set since stay.
-spec is_left(mfa() | on_load) -> boolean().
is_left(Function) ->
    erlang:trace_info(Function, traced) =:= {traced, local} andalso
        erlang:trace_info(Function, match_spec) =:= {match_spec, []}.

-spec destroy(module(), term()) -> ok.
destroy(Api, Session) ->
    try
        _ = Api:session_destroy(Session),
        ok
    catch
        %% Somebody destroyed it.
        error:badarg -> ok
    end.

%% What the VM did not take to be turned on it does not take to be turned off.
-spec clear_pattern(tracing(), spoor_spec:pattern()) -> non_neg_integer().
clear_pattern(Tracing, Pattern) ->
    try set_pattern(Tracing, Pattern, false)
    catch
        error:badarg -> 0
    end.

%% @doc Turns off what the VM's own session gives to this tracer and nobody else's.
-spec sweep({module(), spoor_tracer:state()}) -> ok.
sweep(Tracer) ->
    lists:foreach(fun(Target) -> turn_off(Target, Tracer) end, [new_processes, new_ports]),
    ok = sequential_off(Tracer),
    sweep(Tracer, ?PASSES).

-spec sequential_off({module(), spoor_tracer:state()}) -> ok.
sequential_off(Tracer) ->
    _ = seq_trace:get_system_tracer() =:= Tracer andalso seq_trace:set_system_tracer(false),
    ok.

-spec sweep({module(), spoor_tracer:state()}, non_neg_integer()) -> ok.
sweep(_Tracer, 0) ->
    ok;
sweep(Tracer, Passes) ->
    case [T || T <- processes() ++ erlang:ports(), turn_off(T, Tracer)] of
        [] -> ok;
        _Some -> sweep(Tracer, Passes - 1)
    end.

-spec turn_off(pid() | port() | new_processes | new_ports, {module(), spoor_tracer:state()}) -> boolean().
turn_off(Target, Tracer) ->
    tracer_of(Target) =:= Tracer andalso
        try erlang:trace(Target, false, [all]) of
            _ -> true
        catch
            %% Gone.
            error:badarg -> false
        end.

%% @doc Who traces this in the VM's own session.
-spec tracer_of(pid() | port() | new_processes | new_ports) -> none | pid() | port() | {module(), term()}.
tracer_of(Target) ->
    try erlang:trace_info(Target, tracer) of
        {tracer, []} -> none;
        {tracer, Tracer} -> Tracer;
        %% What is documented of a tracer module; the VM answers a pair, as above.
        {tracer, Module, State} -> {Module, State};
        undefined -> none
    catch
        error:badarg -> none
    end.

%% @doc Is tracing still ours? Reloading a module takes its patterns away: they
%% are set again, and the modules answered. Asked each second, so cheap.
-spec check(tracing()) -> {on, [module()]} | lost.
check(#{targets := none}) ->
    {on, []};
check(#{probes := Probes} = Tracing) ->
    try is_on(Tracing) of
        true ->
            Gone = [P || {P, Probe} <- Probes, not is_set(Tracing, P, Probe), set_pattern(Tracing, P, true) > 0],
            {on, lists:usort([Module || {Module, _, _} <- Gone])};
        false ->
            lost
    catch
        %% The session is gone.
        error:badarg -> lost
    end.

-spec is_on(tracing()) -> boolean().
is_on(#{targets := Word} = Tracing) when Word =:= all; Word =:= new ->
    is_on(new_processes, Tracing);
is_on(#{targets := existing} = Tracing) ->
    %% The first process lives as long as the VM.
    is_on(hd(processes()), Tracing);
is_on(#{targets := Pids} = Tracing) ->
    lists:all(fun(Pid) -> not is_process_alive(Pid) orelse is_on(Pid, Tracing) end, Pids).

-spec is_on(pid() | new_processes, tracing()) -> boolean().
is_on(Target, #{api := {session, Api}, session := Session}) ->
    case Api:info(Session, Target, flags) of
        {flags, Flags} -> Flags =/= [];
        %% It died meanwhile.
        undefined -> true
    end;
is_on(Target, #{api := legacy, tracer := Tracer}) ->
    tracer_of(Target) =:= Tracer orelse (is_pid(Target) andalso not is_process_alive(Target)).

%% The new version of a module may have lost the function that was looked at.
-spec is_set(tracing(), spoor_spec:pattern(), mfa()) -> boolean().
is_set(Tracing, Pattern, Probe) ->
    case traced(Tracing, Probe) of
        {traced, undefined} ->
            case spoor_functions:loaded(Pattern) of
                [Other | _] -> traced(Tracing, Other) =:= {traced, local};
                [] -> true
            end;
        Traced ->
            Traced =:= {traced, local}
    end.

-spec traced(tracing(), mfa()) -> {traced, local | global | false | undefined}.
traced(#{api := {session, Api}, session := Session}, Function) ->
    Api:info(Session, Function, traced);
traced(#{api := legacy}, Function) ->
    erlang:trace_info(Function, traced).
