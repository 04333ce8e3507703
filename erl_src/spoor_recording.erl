%% @doc One recording: opens its file, turns tracing on, watches over both, and
%% ends them in the right order. Owns the trace session on OTP 27 and later.
%%
%% ```
%% idle --begin--> naming --ready--> recording --stop, limit, owner gone--> closing --closed--> ended
%% '''
%%
%% Whatever ends it, the order is the same: tracing off, then the file closed,
%% then the answer. Should this process be killed, the recorder's own thread
%% closes the file and {@link spoor_registry} turns tracing off.
-module(spoor_recording).
-behaviour(gen_statem).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, begin_recording/3, stop/2, status/1]).
-export([init/1, callback_mode/0, handle_event/4, terminate/3]).

-export_type([status/0]).

%% Tracing begins even if describing all processes takes longer.
-define(NAMING_MS, 3_000).
-define(CHECK_MS, 1_000).
-define(CLOSE_MS, 10_000).
%% Checks between two looks at whether others still trace garbage collections.
-define(GC_LOOKS, 9).
-define(GC_WARNING, <<
    "GH-11624: another trace session traces garbage collections, and two that do end this VM; "
    "they are left out until it ends"
>>).

-type status() :: map().

-type state() :: idle | naming | recording | closing.

-type data() :: #{
    owner => reference(),
    from => gen_statem:from(),
    waiting := [gen_statem:from()],
    plan => spoor_spec:plan(),
    warnings => [binary()],
    id => spoor_tracer:state(),
    path => binary(),
    tracing => spoor_tracing:tracing(),
    counts => spoor_tracing:counts(),
    trace := on | lost | off,
    names => pid(),
    asked := boolean(),
    told := boolean(),
    %% What the recorder counted last; why the recording ends.
    last => spoor_tracer:counts(),
    reason => binary(),
    %% The recorder knew nothing of it before it was told to end it.
    unknown => true,
    %% Garbage collections are left to others: how often somebody had begun to trace when
    %% that was looked at last, and looks to leave out.
    gc_guard => {pos_integer(), non_neg_integer()},
    failed => term()
}.

-type result() :: gen_statem:event_handler_result(state()).

%% @private
-spec start_link() -> gen_statem:start_ret().
start_link() ->
    gen_statem:start_link(?MODULE, [], []).

%% @doc Begins to record; ends with `Owner' if the plan says so.
-spec begin_recording(pid(), spoor_spec:plan(), Owner :: pid() | none) ->
    {ok, spoor:session()} | {error, term()}.
begin_recording(Pid, Plan, Owner) ->
    gen_statem:call(Pid, {begin_recording, Plan, Owner}, infinity).

%% @doc Ends the recording and answers when the file is complete.
-spec stop(pid(), Reason :: binary()) -> {ok, spoor:summary()} | {error, term()}.
stop(Pid, Reason) ->
    gen_statem:call(Pid, {stop, Reason}, infinity).

%% @doc What it is doing.
-spec status(pid()) -> {ok, status()} | {error, term()}.
status(Pid) ->
    gen_statem:call(Pid, status, infinity).

%% @private
-spec callback_mode() -> gen_statem:callback_mode_result().
callback_mode() -> handle_event_function.

%% @private
-spec init([]) -> {ok, idle, data()}.
init([]) ->
    _ = process_flag(sensitive, true),
    %% To end a recording must be possible on a node that has no time left.
    _ = process_flag(priority, high),
    _ = process_flag(trap_exit, true),
    {ok, idle, #{waiting => [], trace => off, asked => false, told => false}}.

%% @private
-spec handle_event(gen_statem:event_type(), term(), state(), data()) -> result().
handle_event({call, From}, {begin_recording, Plan, Owner}, idle, Data) ->
    open(From, Data#{plan => Plan}, Owner);
handle_event(info, {spoor_names, ready}, naming, Data) ->
    trace(Data);
handle_event(state_timeout, naming, naming, Data) ->
    trace(Data);
handle_event({timeout, check}, check, recording, Data) ->
    case is_known(Data) of
        true -> {keep_state, check(Data), [{{timeout, check}, ?CHECK_MS, check}]};
        false -> unknown(Data)
    end;
handle_event({call, From}, {stop, Reason}, State, #{waiting := Waiting} = Data) when State =/= idle ->
    close(Reason, State, Data#{waiting := [From | Waiting], asked := true});
handle_event({call, From}, status, State, #{id := _} = Data) ->
    told_status(From, State, Data);
handle_event({call, From}, _NotYet, idle, _Data) ->
    {keep_state_and_data, [{reply, From, {error, not_recording}}]};
handle_event(info, {spoor_tracer, Id, {limit, Limit}}, State, #{id := Id} = Data) ->
    close(atom_to_binary(Limit), State, Data);
handle_event(info, {spoor_tracer, Id, {closed, Counts}}, _State, #{id := Id} = Data) ->
    ended(Counts, turn_off(Data));
handle_event(info, {'DOWN', Owner, process, _, _}, State, #{owner := Owner} = Data) ->
    close(<<"the owner died">>, State, Data);
handle_event(info, {'EXIT', Names, Reason}, State, #{names := Names} = Data) ->
    names_ended(Reason, State, Data);
handle_event(state_timeout, closing, closing, Data) ->
    not_answered(Data);
handle_event(_Type, _Event, _State, _Data) ->
    keep_state_and_data.

%% @private
-spec terminate(term(), state(), data()) -> ok.
terminate(_Reason, State, #{id := Id} = Data) when State =/= closing ->
    Off = turn_off(Data),
    _ = spoor_tracer:close(Id, <<"the application stopped">>),
    await_closed(Off);
terminate(_Reason, closing, #{id := _} = Data) ->
    await_closed(Data);
terminate(_Reason, _State, _Data) ->
    ok.

%%% Beginning

-spec open(gen_statem:from(), data(), pid() | none) -> result().
open(From, #{plan := Plan} = Data, Owner) ->
    case spoor_opening:open(Plan) of
        {ok, Opened} ->
            Named = watch(Owner, start_names(maps:merge(Data, Opened#{from => From}))),
            {next_state, naming, Named, [{state_timeout, ?NAMING_MS, naming}]};
        {error, _} = Error ->
            ok = spoor_registry:ended(none),
            {stop_and_reply, normal, [{reply, From, Error}]}
    end.

-spec watch(pid() | none, data()) -> data().
watch(Owner, #{plan := #{options := #{link := true}}} = Data) when is_pid(Owner) ->
    Data#{owner => monitor(process, Owner)};
watch(_Owner, Data) ->
    Data.

-spec start_names(data()) -> data().
start_names(#{id := Id} = Data) ->
    {ok, Names} = spoor_names:start_link(Id),
    Data#{names => Names}.

-spec trace(data()) -> result().
trace(#{id := Id, tracing := Tracing, from := From} = Data) ->
    %% Nobody's time is spent on naming the processes of a large node, nor on turning
    %% tracing on; but the stretches of limits are counted from the first event on.
    _ = spoor_tracer:start_stretches(Id),
    case spoor_tracing:start(Tracing) of
        {ok, Counts} ->
            _ = spoor_tracer:start_time(Id),
            Recording = (maps:remove(from, Data))#{counts => Counts, trace := on},
            %% Lists of all processes were made: they go.
            Actions = [{reply, From, {ok, session(Recording)}}, {{timeout, check}, ?CHECK_MS, check}, hibernate],
            {next_state, recording, Recording, Actions};
        {error, Reason} ->
            close(<<"tracing could not be turned on">>, naming, Data#{failed => Reason})
    end.

-spec session(data()) -> spoor:session().
session(#{id := Id, path := Path} = Data) ->
    #{functions := Functions, processes := Processes} = counts(Data),
    #{id => Id, pid => self(), path => Path, functions => Functions, processes => Processes}.

-spec counts(data()) -> spoor_tracing:counts().
counts(Data) -> maps:get(counts, Data, #{functions => 0, processes => 0}).

%%% Meanwhile

-spec check(data()) -> data().
check(#{trace := on, id := Id, tracing := Tracing} = Data) ->
    case spoor_tracer:status(Id) of
        {ok, #{phase := recording} = Counts} -> guarded(checked(spoor_tracing:check(Tracing), told(Counts, Data#{last => Counts})));
        %% A limit was reached: the VM is told to remove the tracer.
        _ -> Data
    end;
check(Data) ->
    Data.

%% A stream that finds no room drops events until there is some: said once.
-spec told(spoor_tracer:counts(), data()) -> data().
told(#{dropped := #{no_segment := Dropped}}, #{path := Path, told := false} = Data) ->
    ?LOG_WARNING(
        "spoor: ~ts: no room for the next segment, or a disk that does not keep up: ~b events dropped so far",
        [spoor_file:text(Path), Dropped]
    ),
    Data#{told := true};
told(_Counts, Data) ->
    Data.

%% Garbage collections are left to others since somebody began to trace. They are taken
%% back when nobody traces them a second later: what began then is done by now.
-spec guarded(data()) -> data().
guarded(#{trace := on, id := Id, tracing := Tracing} = Data) ->
    case {spoor_tracer:gc_guard(Id, 0), Data} of
        {0, _} ->
            maps:remove(gc_guard, Data);
        {Begun, #{gc_guard := {Begun, 0}}} ->
            case spoor_tracing:is_gc_traced_beside(Tracing) of
                true -> left_to_others(Begun, Data);
                false -> taken_back(spoor_tracer:gc_guard(Id, Begun), Data)
            end;
        {Begun, #{gc_guard := {Begun, Looks}}} ->
            Data#{gc_guard := {Begun, Looks - 1}};
        {Begun, _} when is_integer(Begun) ->
            Data#{gc_guard => {Begun, 0}}
    end;
guarded(Data) ->
    Data.

%% To look at all processes takes its time.
-spec left_to_others(pos_integer(), data()) -> data().
left_to_others(Begun, #{id := Id, path := Path, warnings := Warnings} = Data) ->
    _ = spoor_tracer:note(Id, gc_left_to_others, []),
    ?LOG_WARNING("spoor: somebody else traces garbage collections; ~ts leaves them out meanwhile", [spoor_file:text(Path)]),
    Data#{gc_guard := {Begun, ?GC_LOOKS}, warnings := lists:usort([?GC_WARNING | Warnings])}.

-spec taken_back(non_neg_integer(), data()) -> data().
taken_back(0, #{warnings := Warnings} = Data) ->
    maps:remove(gc_guard, Data#{warnings := Warnings -- [?GC_WARNING]});
taken_back(_BegunMeanwhile, Data) ->
    Data.

-spec checked({on, [module()]} | lost, data()) -> data().
checked({on, Reloaded}, #{id := Id} = Data) ->
    lists:foreach(fun(Module) -> spoor_tracer:note(Id, reloaded, Module) end, Reloaded),
    Data;
checked(lost, #{id := Id, path := Path} = Data) ->
    _ = spoor_tracer:note(Id, trace_lost, []),
    ?LOG_WARNING("spoor: somebody else turned tracing off, ~ts records no more", [spoor_file:text(Path)]),
    Data#{trace := lost}.

%% Without names a recording is poorer, not over.
-spec names_ended(term(), state(), data()) -> result().
names_ended(normal, _State, Data) ->
    {keep_state, maps:remove(names, Data)};
names_ended(Reason, State, #{id := Id} = Data) ->
    %% Not the reason itself: it may hold what the process had in its hands.
    _ = spoor_tracer:note(Id, names_lost, []),
    ?LOG_WARNING("spoor: processes are named no more: ~0p", [Reason]),
    case State of
        naming -> trace(maps:remove(names, Data));
        _ -> {keep_state, maps:remove(names, Data)}
    end.

%% The recorder knows it no more before its end has been told here: meanwhile, what it
%% said last. Who asks before it has said anything hears the summary.
-spec told_status(gen_statem:from(), state(), data()) -> result().
told_status(From, State, #{id := Id} = Data) ->
    case {spoor_tracer:status(Id), Data} of
        {{ok, Counts}, _} ->
            {keep_state, Data#{last => Counts}, [{reply, From, {ok, own_status(State, Counts, Data)}}]};
        {{error, _}, #{last := Last}} ->
            {keep_state_and_data, [{reply, From, {ok, own_status(State, Last#{phase := stopping}, Data)}}]};
        {{error, _}, _} when State =:= closing ->
            {keep_state_and_data, [postpone]};
        {{error, _}, _} when State =:= recording ->
            {next_state, closing, Off, Actions} = unknown(Data),
            {next_state, closing, Off, [postpone | Actions]};
        {{error, _}, _} ->
            {keep_state_and_data, [{reply, From, {error, not_recording}}]}
    end.

-spec own_status(state(), spoor_tracer:counts(), data()) -> status().
own_status(State, Counts, #{plan := Plan, path := Path, trace := Trace, warnings := Warnings} = Data) ->
    Gone = [spoor_summary:gone(Path) || spoor_file:is_gone(Path)],
    Now = #{state => State, trace => Trace, warnings => Gone ++ Warnings},
    maps:merge(spoor_summary:facts(session(Data), Plan, Counts), Now).

%%% Ending

-spec is_known(data()) -> boolean().
is_known(#{id := Id}) ->
    case spoor_tracer:status(Id) of
        {ok, _} -> true;
        {error, _} -> false
    end.

%% The recorder knows the recording no more: it has just ended, which is about to be told
%% here; or another library has taken over, and what this one ends with, too.
-spec unknown(data()) -> result().
unknown(Data) ->
    close(<<"the recorder does not know it any more">>, recording, Data#{unknown => true}).

-spec close(binary(), state(), data()) -> result().
close(Reason, closing, #{unknown := true} = Data) ->
    {keep_state, maps:remove(unknown, Data#{reason := Reason})};
close(_Reason, closing, Data) ->
    {keep_state, Data};
close(Reason, _State, #{id := Id} = Data) ->
    %% What was loaded again since the last look is told, too.
    Off = counted(turn_off(check(Data#{reason => Reason}))),
    _ = spoor_tracer:close(Id, Reason),
    {next_state, closing, Off, [{state_timeout, ?CLOSE_MS, closing}, {{timeout, check}, cancel}]}.

%% What a slow disk, or a large stream to be packed, cannot keep from being told.
-spec counted(data()) -> data().
counted(#{id := Id} = Data) ->
    case spoor_tracer:status(Id) of
        {ok, Counts} -> Data#{last => Counts};
        {error, _} -> Data
    end.

-spec turn_off(data()) -> data().
turn_off(#{tracing := Tracing} = Data) ->
    ok = spoor_tracing:stop(Tracing),
    stop_names(maps:remove(tracing, Data#{trace := off}));
turn_off(Data) ->
    Data.

%% It may be waiting for a process that does not answer: nothing is lost by killing it.
-spec stop_names(data()) -> data().
stop_names(#{names := Names} = Data) ->
    true = unlink(Names),
    true = exit(Names, kill),
    maps:remove(names, Data);
stop_names(Data) ->
    Data.

-spec ended(spoor_tracer:counts(), data()) -> result().
ended(Counts, #{plan := Plan} = Data) ->
    ended_as(present(spoor_summary:summary(session(Data), Plan, Counts), Counts), Data).

%% The recorder did not say that the file is complete: what it last said of it.
-spec not_answered(data()) -> result().
not_answered(#{last := Last, plan := Plan, reason := Reason} = Data) ->
    Counts = Last#{stop_reason => Reason},
    ended_as(spoor_summary:unfinished(spoor_summary:summary(session(Data), Plan, Counts), Counts), Data);
not_answered(#{path := Path} = Data) ->
    Reason = <<"the recorder does not answer">>,
    ended(
        #{
            path => Path, phase => stopping, events => 0, overwritten => 0, dropped => #{}, thinned => #{},
            ring => 0, elapsed_ms => 0, lanes => 0, stop_reason => Reason
        },
        Data
    ).

-spec ended_as(spoor:summary(), data()) -> result().
ended_as(Summary, #{id := Id, waiting := Waiting} = Data) ->
    ok = spoor_registry:ended(Id, Summary),
    log(Summary, Data),
    Answers = [{reply, From, {ok, Summary}} || From <- Waiting],
    {stop_and_reply, normal, begun(Data) ++ Answers, maps:remove(id, Data)}.

%% Nobody is told to read what is not there.
-spec present(spoor:summary(), spoor_tracer:counts()) -> spoor:summary().
present(#{path := Path} = Summary, Counts) ->
    case spoor_file:is_gone(Path) of
        true -> spoor_summary:gone(Summary, Counts);
        false -> Summary
    end.

%% The answer to whoever is still waiting for the recording to begin.
-spec begun(data()) -> [gen_statem:reply_action()].
begun(#{from := From, failed := Reason, path := Path}) ->
    _ = file:del_dir_r(Path),
    [{reply, From, {error, Reason}}];
begun(#{from := From} = Data) ->
    [{reply, From, {ok, session(Data)}}];
begun(_Data) ->
    [].

%% Whoever asked for the end has the summary in hand.
-spec log(spoor:summary(), data()) -> ok.
log(_Summary, #{asked := true}) -> ok;
log(_Summary, #{failed := _}) -> ok;
log(#{text := Text}, _Data) -> ?LOG_NOTICE("~ts", [Text]).

-spec await_closed(data()) -> ok.
await_closed(#{id := Id}) ->
    receive
        {spoor_tracer, Id, {closed, _}} -> ok
    after ?CLOSE_MS -> ok
    end.
