%% @doc The tracer module: what the VM calls for each event, and the few
%% functions on a recording. All of it is native code (`native/'); what stands
%% here answers when that code could not be loaded.
%%
%% Loading never fails: a host application boots without the recorder, and hears
%% of it from the first call. Keep this module small, without funs: the VM
%% reloads it while callbacks run.
%%
%% Use it bare with `{spoor_tracer, State}' as the tracer of `erlang:trace/3',
%% `trace:session_create/3', `dbg:tracer(module, ...)' and
%% `seq_trace:set_system_tracer/1'; see {@link spoor:open/1}.
-module(spoor_tracer).

-export([enabled/3, enabled_garbage_collection/3, trace/5]).
-export([open/1, start_stretches/1, start_time/1, meet/2, close/2, status/1, undescribed/2, describe/2, note/3, copy/4, adopt/3, gc_guard/2]).

-export_type([state/0, config/0, counts/0, copied/0, left/0, adopted/0, description/0, message/0]).

-nifs([
    enabled/3, enabled_garbage_collection/3, trace/5,
    open/1, start_stretches/1, start_time/1, meet/2, close/2, status/1, undescribed/2, describe/2, note/3, copy/4, adopt/3, gc_guard/2
]).
-on_load(load/0).

-define(ERROR_KEY, {?MODULE, nif_error}).

-type state() :: pos_integer().
%% Names one open recording: slot and generation.

-type config() :: #{
    path := binary(),
    %% Bytes for events.
    ring := pos_integer(),
    mode => ring | once | stream,
    %% Of a stream: bytes of a segment; whether it ends when all bytes are used;
    %% whether closed segments are packed.
    segment => pos_integer(),
    keep_first => boolean(),
    packs => boolean(),
    %% Milliseconds from one writing to the disk to the next.
    sync => pos_integer(),
    owner := pid(),
    %% The VM's limit of processes.
    processes => pos_integer(),
    time := non_neg_integer(),
    max_events := non_neg_integer(),
    %% Without these nothing is thinned; times in milliseconds.
    rate => {pos_integer(), pos_integer()},
    function_rate => {pos_integer(), pos_integer()},
    sample => pos_integer(),
    %% Processes out of the sample are taken off tracing for good.
    sample_removes => boolean(),
    max_cost_ppm => pos_integer(),
    overload_stops => boolean(),
    content := none | full,
    max_term_bytes := pos_integer(),
    meta := [{binary(), binary()}]
}.

-type counts() :: #{
    path := binary(),
    phase := recording | stopping,
    events := non_neg_integer(),
    overwritten := non_neg_integer(),
    dropped := #{atom() => pos_integer()},
    %% Which limits have left out events, how many, and when, from the start.
    thinned := #{atom() => #{events := non_neg_integer(), first_ms := non_neg_integer(), last_ms := non_neg_integer()}},
    %% Of a sample: how many processes are in it, of those that are traced.
    sampled => #{recorded := non_neg_integer(), processes := non_neg_integer()},
    ring := non_neg_integer(),
    elapsed_ms := non_neg_integer(),
    lanes := non_neg_integer(),
    stop_reason := binary()
}.

-type description() :: {
    pid(),
    Parent :: pid() | undefined,
    Name :: atom(),
    Label :: term(),
    InitialCall :: mfa() | undefined,
    %% Of all this, less than 2^27.
    Hash :: non_neg_integer()
}.

-type copied() :: #{
    %% Size of the file, and what is in it.
    bytes := non_neg_integer(),
    events := non_neg_integer(),
    chunks := non_neg_integer(),
    %% Chunks of events left out: of before the window, and overwritten meanwhile.
    earlier := non_neg_integer(),
    overtaken := non_neg_integer(),
    covered := non_neg_integer()
}.

-type left() :: {Path :: binary(), Bytes :: non_neg_integer(), StartedNs :: non_neg_integer()}.
%% A recording whose VM died; when it began, in nanoseconds since 1970, 0 if that is lost.

-type adopted() :: #{
    %% Newest first: marked now, marked and still there, deleted now.
    found := [left()],
    kept := [left()],
    deleted := [left()],
    %% Not ended, of VMs of which it cannot be told from here whether they live.
    unsure := [binary()],
    failed := [{binary(), file:posix()}],
    %% There were more recordings than are looked at.
    cut_short := boolean()
}.

-type message() ::
    {spoor_tracer, state(),
        {limit, time | max_events | rate | function_rate | max_cost | full | file_cut}}
    | {spoor_tracer, state(), {closed, counts()}}
    | {spoor_tracer, state(), {copied, Path :: binary(), {ok, copied()} | {error, closed | file:posix()}}}.
%% What the owner of a recording is sent, and who asked for a copy.

-type unavailable() :: {error, {nif_unavailable, Why :: binary()}}.

%% @doc Asked by the VM whether an event is wanted.
-spec enabled(atom(), state(), term()) -> trace | discard | remove.
enabled(_Tag, _State, _Tracee) -> remove.

%% @doc The same of garbage collections, which are left to others once somebody else may
%% trace them: see {@link gc_guard/2}.
-spec enabled_garbage_collection(atom(), state(), term()) -> trace | discard | remove.
enabled_garbage_collection(_Tag, _State, _Tracee) -> remove.

%% @doc Handed an event by the VM.
-spec trace(atom(), state(), term(), term(), map()) -> ok.
trace(_Tag, _State, _Tracee, _Term, _Opts) -> ok.

%% @doc Creates a recording file; from then on its state may be given to the VM.
-spec open(config()) -> {ok, state()} | {error, term()} | unavailable().
open(_Config) -> unavailable().

%% @doc Counts the stretches of limits from now on: tracing is about to begin.
-spec start_stretches(state()) -> ok | {error, closed} | unavailable().
start_stretches(_State) -> unavailable().

%% @doc Counts the `time' limit from now on: tracing is on.
-spec start_time(state()) -> ok | {error, closed} | unavailable().
start_time(_State) -> unavailable().

%% @doc Counts processes that are traced from now on in or out of a sample, once each: those
%% that do something are without this. Answers those that it did not get to.
-spec meet(state(), [pid()]) -> [pid()] | {error, closed} | unavailable().
meet(_State, _Processes) -> unavailable().

%% @doc Ends a recording. Its owner is sent `closed' when the file is complete.
-spec close(state(), Reason :: binary()) -> ok | {error, closed} | unavailable().
close(_State, _Reason) -> unavailable().

%% @doc What a recording has taken so far.
-spec status(state()) -> {ok, counts()} | {error, closed} | unavailable().
status(_State) -> unavailable().

%% @doc Of the first of these processes, a few thousand, those of which nothing was described
%% yet; and the others.
-spec undescribed(state(), [pid()]) -> {New :: [pid()], Rest :: [pid()]} | {error, closed} | unavailable().
undescribed(_State, _Processes) -> unavailable().

%% @doc Writes what processes are called, where that is not what was written last.
-spec describe(state(), [description()]) -> ok | {error, closed} | unavailable().
describe(_State, _Descriptions) -> unavailable().

%% @doc Writes a remark into the file.
-spec note(state(), What :: atom(), Detail :: term()) -> ok | {error, closed} | unavailable().
note(_State, _What, _Detail) -> unavailable().

%% @doc Copies the last milliseconds of a recording, or all for 0, into a file of mode
%% 0600 that must not exist. A thread of the recorder does that, and sends `copied' to
%% the process when it is done; a recording that ends first answers `closed'. The
%% copy of a stream is a file, too.
-spec copy(state(), binary(), LastMs :: non_neg_integer(), To :: pid()) ->
    ok | {error, closed | file:posix()} | unavailable().
copy(_State, _Path, _LastMs, _To) -> unavailable().

%% @doc Looks through a directory for recordings whose VMs died, marks them as
%% crashed, and deletes the oldest of those marked beyond so many, and so many bytes.
-spec adopt(Dir :: binary(), Keep :: non_neg_integer(), KeepBytes :: non_neg_integer()) ->
    {ok, adopted()} | {error, file:posix()} | unavailable().
adopt(_Dir, _Keep, _KeepBytes) -> unavailable().

%% @doc How often somebody began to trace since garbage collections are left to others, 0
%% while they are not; takes them back if that is as often as `Seen'. A call that is
%% meta-traced with the negative of the state counts as beginning to trace.
-spec gc_guard(state(), Seen :: non_neg_integer()) -> non_neg_integer() | unavailable().
gc_guard(_State, _Seen) -> unavailable().

%% What the native code would have answered is anybody's guess: hence term().
-spec unavailable() -> term().
unavailable() ->
    persistent_term:get(?ERROR_KEY, {error, {nif_unavailable, <<"not loaded">>}}).

-spec load() -> ok.
load() ->
    Library = library(),
    case erlang:load_nif(Library, 0) of
        ok ->
            %% Erasing costs a global collection; when there is nothing, nothing.
            _ = persistent_term:erase(?ERROR_KEY),
            ok;
        {error, {Kind, Text}} ->
            Why = unicode:characters_to_binary(io_lib:format("~ts.so: ~ts: ~ts", [Library, Kind, Text])),
            persistent_term:put(?ERROR_KEY, {error, {nif_unavailable, Why}})
    end.

%% Path of the library without its `.so', as load_nif/2 wants it.
-spec library() -> string().
library() ->
    case application:get_env(spoor, nif_path) of
        {ok, Path} -> filename:rootname(unicode:characters_to_list(Path), ".so");
        undefined -> filename:join([priv_dir(), "native", atom_to_list(?MODULE)])
    end.

-spec priv_dir() -> string().
priv_dir() ->
    case code:priv_dir(spoor) of
        {error, bad_name} -> filename:join([beam_dir(), "..", "priv"]);
        Dir -> Dir
    end.

-spec beam_dir() -> string().
beam_dir() ->
    case code:which(?MODULE) of
        Path when is_list(Path) -> filename:dirname(Path);
        _NotFromAFile -> "."
    end.
