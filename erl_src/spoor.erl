%% @doc Records what this VM does into a file that survives it.
%%
%% ```
%% 1> {ok, S} = spoor:start(my_server, #{time => {10, second}}).
%% 2> spoor:stop(S).
%% {ok, #{events => 52311, stop_reason => <<"stopped">>, next => <<"spoor calls /tmp/...">>, ...}}
%% '''
%%
%% == What ==
%% A preset, a pattern, or a list of these:
%% <table>
%% <tr><td>`Mod', `{Mod, F}', `{Mod, F, Arity}', `fun Mod:F/Arity'</td>
%%   <td>calls of these functions, exported or not, and where they return to</td></tr>
%% <tr><td>`{calls, Patterns}'</td><td>the same, where a module is called like a preset</td></tr>
%% <tr><td>`scheduling'</td><td>which process runs when, and where</td></tr>
%% <tr><td>`gc'</td><td>garbage collections with their sizes</td></tr>
%% <tr><td>`requests'</td><td>calls of gen_server and the like, casts, replies</td></tr>
%% <tr><td>`messages'</td><td>messages sent and received, by processes and ports</td></tr>
%% <tr><td>`full'</td><td>all of this; calls only of functions that are named too</td></tr>
%% </table>
%% Processes that are spawned, exit, link or register are recorded with all but `gc'.
%% `'_'' as a module means every module and needs `force'.
%%
%% == Options ==
%% A map or a property list; `true' may be left out.
%% <table>
%% <tr><td>`procs'</td><td>`all' (default), `new', `existing', a pid, a registered name, or a list of these</td></tr>
%% <tr><td>`time'</td><td>milliseconds, `{N, second | minute | hour}' or `infinity'; default 15 s</td></tr>
%% <tr><td>`max_events'</td><td>ends after so many, or `infinity'; default 100 million</td></tr>
%% <tr><td>`rate'</td><td>`{N, Ms}', at most so many events in each stretch of so many
%%   milliseconds (or `{N, {1, second}}'), on all schedulers together; default `infinity'</td></tr>
%% <tr><td>`function_rate'</td><td>the same for the calls of each function</td></tr>
%% <tr><td>`sample'</td><td>N: one process in N, the whole of it; decided once for each, those spawned
%%   later too; default 1</td></tr>
%% <tr><td>`max_cost'</td><td>the share of each scheduler's time that the recorder may take, `0.05' or
%%   `{5, percent}'; it measures itself; default `infinity'</td></tr>
%% <tr><td>`overload'</td><td>when more comes than `rate', `function_rate' or `max_cost' allow: `drop'
%%   (default) what is too much, or `stop'</td></tr>
%% <tr><td>`ring'</td><td>bytes, or a text like `<<"64MiB">>' (default): the oldest events are overwritten</td></tr>
%% <tr><td>`once'</td><td>the same, and the first events are kept: ends when full</td></tr>
%% <tr><td>`stream'</td><td>bytes of a directory of segments, which is one recording; `segment': bytes of each;
%%   `at_cap': `delete' (default) the oldest, or `stop'; `compress': `none' (default) or `lz4'</td></tr>
%% <tr><td>`sync'</td><td>writes everything to the disk this often, for fear of the host's death;
%%   default `infinity': the kernel does when it likes</td></tr>
%% <tr><td>`dir'</td><td>where the file goes; else `SPOOR_DIR', the application's `dir',
%%   `$RELEASE_TMP/spoor', the directory of `ERL_CRASH_DUMP', `/tmp/spoor-UID'</td></tr>
%% <tr><td>`args'</td><td>`none' (default) or `full': arguments and messages too, up to
%%   `max_term_bytes' (256; 64 to 4096) each</td></tr>
%% <tr><td>`running'</td><td>with calls: which process runs when, too</td></tr>
%% <tr><td>`set_on_spawn'</td><td>processes spawned by those traced are traced; default `true'</td></tr>
%% <tr><td>`link'</td><td>`true' (default): ends with the calling process (but that of a remote call
%% lives no longer than the call: the recording goes on); `false': runs on</td></tr>
%% <tr><td>`label'</td><td>a text that stands in the file</td></tr>
%% <tr><td>`force'</td><td>goes ahead where it is refused as too broad or unsafe on this release</td></tr>
%% </table>
%%
%% Content of arguments and messages is not recorded unless asked for. A module
%% that is named and reloaded is traced again within a second; where all modules are,
%% those loaded later are too, from the first call on. Spoor takes no tracer
%% from somebody else: from OTP 27 it has a trace session of its own, before it
%% answers `{tracer_conflict, Who}', and one recording at a time may trace: others answer
%% `{already_recording, Recordings}'.
-module(spoor).

-export([start/1, start/2, stop/0, stop/1, status/0, status/1, crashed/0]).
-export([snapshot/0, snapshot/1, snapshot/2]).
-export([run/1, run/2, open/0, open/1, tracer/1, format_error/1]).

-export_type([session/0, summary/0, id/0, reason/0]).

-type id() :: spoor_tracer:state().

-type session() :: #{
    id := id(),
    pid := pid(),
    path := binary(),
    %% How many functions and processes matched when it began.
    functions := non_neg_integer(),
    processes := non_neg_integer()
}.

-type summary() :: #{
    id := id(),
    path := binary(),
    events := non_neg_integer(),
    overwritten := non_neg_integer(),
    dropped := #{atom() => pos_integer()},
    %% What limits left out, and when: `#{rate => #{events, first_ms, last_ms}}'.
    thinned := #{atom() => map()},
    %% With `sample': how many processes are recorded, of how many that are traced.
    sampled => #{recorded := non_neg_integer(), processes := non_neg_integer()},
    lost := non_neg_integer(),
    stop_reason := binary(),
    %% The analyzer command to run next, empty when the file is gone; and a line that
    %% says all this.
    next := binary(),
    text := binary(),
    atom() => term()
}.

-type reason() ::
    {bad_option, {term(), binary()}}
    | {bad_pattern, term()}
    | {no_match, spoor_spec:pattern()}
    | {no_process, pid() | atom()}
    | {too_broad, map()}
    | {tracer_conflict, [pid() | port() | new_processes | mfa() | on_load | send | 'receive']}
    | {already_recording, [pid()]}
    | {unsafe_on_otp, spoor_hazard:bug()}
    | {nif_unavailable, Why :: binary()}
    | {no_space, Need :: non_neg_integer(), Have :: non_neg_integer()}
    | {dir_unwritable, file:filename_all(), atom()}
    | {file_error, file:filename_all(), atom()}
    | {ring_too_small, Least :: pos_integer()}
    | {segment_too_small, Segment :: pos_integer(), Least :: pos_integer(), LeastStream :: pos_integer()}
    | {stream_too_small, Stream :: pos_integer(), Least :: pos_integer(), Segment :: pos_integer()}
    | too_many_recordings
    | {unsupported, Why :: binary()}
    | {bad_session, term()}
    | {several_recordings, [Path :: binary()]}
    | {not_started, term()}
    | not_recording.

%% @equiv start(What, #{})
-spec start(spoor_spec:what()) -> {ok, session()} | {error, reason()}.
start(What) ->
    start(What, #{}).

%% @doc Begins to record. It ends by itself at the first of its limits.
-spec start(spoor_spec:what(), spoor_options:given()) -> {ok, session()} | {error, reason()}.
start(What, Options) ->
    planned(spoor_spec:plan(What, Options), fun begin_recording/1).

%% @equiv open(#{})
-spec open() -> {ok, session()} | {error, reason()}.
open() ->
    open(#{}).

%% @doc Opens a recording that traces nothing by itself: give {@link tracer/1} to
%% whatever traces. Takes the options that say nothing of what is traced.
-spec open(spoor_options:given()) -> {ok, session()} | {error, reason()}.
open(Options) ->
    planned(spoor_spec:open(Options), fun begin_recording/1).

%% @doc The tracer of a recording, for `erlang:trace/3' (as `{tracer, Mod, State}'),
%% `trace:session_create/3', `dbg:tracer/2' and `seq_trace:set_system_tracer/1'.
-spec tracer(session()) -> {spoor_tracer, spoor_tracer:state()}.
tracer(#{id := Id}) ->
    {spoor_tracer, Id}.

%% @doc Ends all recordings.
-spec stop() -> {ok, [summary()]}.
stop() ->
    {ok, [Summary || Pid <- recordings(), {ok, Summary} <- [ask_to_stop(Pid)]]}.

%% @doc Ends a recording; answers when its file is complete. One that has ended by
%% itself not long ago answers how.
-spec stop(session()) -> {ok, summary()} | {error, reason()}.
stop(#{id := Id, pid := Pid}) when is_pid(Pid) ->
    case ask_to_stop(Pid) of
        {ok, Summary} -> {ok, Summary};
        {error, not_recording} -> ended(Id)
    end;
stop(Other) ->
    {error, {bad_session, Other}}.

%% @doc What all open recordings are doing, oldest first.
-spec status() -> [map()].
status() ->
    [Status || Pid <- recordings(), {ok, Status} <- [ask_status(Pid)]].

%% @doc What a recording is doing: events, losses, and whether tracing is still
%% `on', or `lost' to somebody who turned it off; among its `warnings', whether somebody has
%% removed its file. Of one that is ending, `phase => stopping'
%% and what was counted last; of one that has ended, the summary.
-spec status(session()) -> map() | {error, reason()}.
status(#{id := Id, pid := Pid}) when is_pid(Pid) ->
    case ask_status(Pid) of
        {ok, Status} ->
            Status;
        {error, not_recording} ->
            case ended(Id) of
                {ok, Summary} -> Summary;
                {error, _} = Error -> Error
            end
    end;
status(Other) ->
    {error, {bad_session, Other}}.

%% @doc Recordings that VMs before this one left by dying, newest first: those in the
%% directory that recordings go to, and in others since a recording went there. They were
%% marked when they were found, and logged. The newest 10 stay, or as many as the
%% application's environment says: `{keep, N | infinity}', `{keep_bytes, <<"1GiB">>}';
%% older ones are deleted. `{keep, off}' does not look. What is to stay for good: move it
%% elsewhere, or give it a name that does not begin with `spoor-'.
-spec crashed() -> [spoor_adoption:crashed()].
crashed() ->
    case whereis(spoor_adoption) of
        undefined -> [];
        _ -> crashed_so_far()
    end.

-spec crashed_so_far() -> [spoor_adoption:crashed()].
crashed_so_far() ->
    case ask(fun() -> {ok, spoor_adoption:crashed()} end) of
        {ok, Crashed} -> Crashed;
        {error, not_recording} -> []
    end.

%% @equiv snapshot(#{})
-spec snapshot() -> {ok, spoor_snapshot:snapshot()} | {error, reason()}.
snapshot() ->
    snapshot(#{}).

%% @doc Of this recording, with no options; or with these, of the only one that is open.
-spec snapshot(session() | spoor_options:given()) -> {ok, spoor_snapshot:snapshot()} | {error, reason()}.
snapshot(#{pid := _} = Session) ->
    snapshot(Session, #{});
snapshot(Options) when is_map(Options); is_list(Options) ->
    case status() of
        [Session] -> snapshot(Session, Options);
        [] -> {error, not_recording};
        Several -> {error, {several_recordings, [Path || #{path := Path} <- Several]}}
    end;
snapshot(Other) ->
    {error, {bad_session, Other}}.

%% @doc Copies a window of what has been recorded to a file beside the recording, which
%% goes on; no thread that records waits for it. Options: `last', how much of the time
%% before, default `infinity', all there is; `post', how long to go on recording before
%% the copy is made, default 0 (the caller waits); `reason', any term. They are noted in
%% the copy, a complete recording that ends when the copying began, of whole chunks: it
%% begins a little before the window does. The answer says how many chunks are in it, and of how
%% many milliseconds, up to the end of the window, it has all that was recorded, `covered'. The window ends when the copying begins:
%% to see what was before the call, too, ask for a `last' that is longer than `post'.
%% The copy of a stream is a file, too. Recordings that end first answer `not_recording'.
-spec snapshot(session(), spoor_options:given()) -> {ok, spoor_snapshot:snapshot()} | {error, reason()}.
snapshot(#{id := _, pid := Pid, path := _} = Session, Options) when is_pid(Pid) ->
    spoor_snapshot:take(Session, Options);
snapshot(Other, _Options) ->
    {error, {bad_session, Other}}.

%% @equiv run(Work, #{})
-spec run(spoor_run:work()) -> {Value :: term(), summary()} | {error, reason()}.
run(Work) ->
    run(Work, #{}).

%% @doc Calls a function in a process of its own and records it. What is recorded
%% is the option `what', else calls of the function's module. Options as for
%% {@link start/2}, without `procs'. Raises what the function raises.
-spec run(spoor_run:work(), spoor_options:given()) -> {Value :: term(), summary()} | {error, reason()}.
run(Work, Options) ->
    planned(spoor_spec:run(module_of(Work), Options), fun(Plan) ->
        spoor_run:run(Work, Plan, fun begin_recording/1)
    end).

-spec module_of(spoor_run:work()) -> module().
module_of({M, F, Args}) when is_atom(M), is_atom(F), is_list(Args) ->
    M;
module_of(Fun) when is_function(Fun, 0) ->
    {module, Module} = erlang:fun_info(Fun, module),
    Module.

%% @doc A sentence or two on what an error means and what to do about it.
-spec format_error(reason() | term()) -> string().
format_error(Reason) ->
    spoor_error:format(Reason).

%%% Internal

-spec planned({ok, spoor_spec:plan()} | {error, reason()}, fun((spoor_spec:plan()) -> R)) ->
    R | {error, reason()}.
planned({ok, Plan}, Next) ->
    %% The library's path is in the application's environment.
    _ = application:load(spoor),
    %% No recording is called 1. Loads the module, as a trace session wants it.
    case spoor_tracer:status(1) of
        {error, {nif_unavailable, _}} = Error -> Error;
        _Available -> Next(Plan)
    end;
planned({error, _} = Error, _Next) ->
    Error.

-spec begin_recording(spoor_spec:plan()) -> {ok, session()} | {error, reason()}.
begin_recording(Plan) ->
    case application:ensure_all_started(spoor) of
        {ok, _} ->
            Owner = owner(),
            ask(fun() ->
                {ok, Pid} = spoor_sup:start_recording(),
                spoor_recording:begin_recording(Pid, Plan, Owner)
            end);
        {error, Reason} ->
            {error, {not_started, Reason}}
    end.

%% Whoever is behind a remote call is not the process that makes it, which ends
%% with the call: one of erpc, or a child of `rex', for C nodes like erl_call.
-spec owner() -> pid() | none.
owner() ->
    Rex = whereis(rex),
    case process_info(self(), [initial_call, parent]) of
        [{initial_call, {erpc, _, _}}, _] -> none;
        [_, {parent, Rex}] -> none;
        _ -> self()
    end.

-spec recordings() -> [pid()].
recordings() ->
    case whereis(spoor_registry) of
        undefined ->
            [];
        _ ->
            case ask(fun() -> {ok, spoor_registry:recordings()} end) of
                {ok, Recordings} -> Recordings;
                {error, not_recording} -> []
            end
    end.

-spec ended(id()) -> {ok, summary()} | {error, not_recording}.
ended(Id) ->
    case ask(fun() -> {ok, spoor_registry:summary(Id)} end) of
        {ok, {ok, Summary}} -> {ok, Summary};
        _ -> {error, not_recording}
    end.

-spec ask_to_stop(pid()) -> {ok, summary()} | {error, not_recording}.
ask_to_stop(Pid) ->
    ask(fun() -> spoor_recording:stop(Pid, <<"stopped">>) end).

-spec ask_status(pid()) -> {ok, map()} | {error, not_recording}.
ask_status(Pid) ->
    ask(fun() -> spoor_recording:status(Pid) end).

%% A recording may end between two lines of its user's program, or all of Spoor.
-spec ask(fun(() -> {ok, T} | {error, E})) -> {ok, T} | {error, E | not_recording}.
ask(Ask) ->
    try
        Ask()
    catch
        exit:{_GoneOrGoing, {Behaviour, call, _}} when Behaviour =:= gen_statem; Behaviour =:= gen_server ->
            {error, not_recording}
    end.
