%% @doc Looks for recordings that VMs before this one left by dying: when the
%% application starts, in the directory that recordings go to, and in any other when a
%% recording first goes there. They are marked as crashed, the newest are kept, and one
%% line is logged that names them and how to read them.
%%
%% Nobody waits for it, and whatever goes wrong here is a line in the log. The
%% application's environment says how many stay: `keep' (10; `infinity'; `off' does not
%% look at all), and how many bytes, `keep_bytes' (`infinity').
-module(spoor_adoption).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, look/1, crashed/0]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2]).

-export_type([crashed/0]).

%% What `keep' is unless told.
-define(KEEP, 10).
%% Names in the line that is logged.
-define(NAMED, 5).
%% More than there can be.
-define(INFINITY, (1 bsl 63)).

-type crashed() :: #{
    path := binary(),
    bytes := non_neg_integer(),
    %% When the recording began, RFC 3339.
    started => binary()
}.

-type state() :: #{looked := #{binary() => [spoor_tracer:left()]}}.

%% @private
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Looks through the directory, unless it did before. Does not wait.
-spec look(binary()) -> ok.
look(Dir) ->
    gen_server:cast(?MODULE, {look, Dir}).

%% @doc What VMs that died left in the directories looked at, newest first.
-spec crashed() -> [crashed()].
crashed() ->
    gen_server:call(?MODULE, crashed, infinity).

%% @private
-spec init([]) -> {ok, state(), {continue, look}}.
init([]) ->
    _ = process_flag(sensitive, true),
    {ok, #{looked => #{}}, {continue, look}}.

%% @private
-spec handle_continue(look, state()) -> {noreply, state()}.
handle_continue(look, State) ->
    case spoor_file:usual() of
        {ok, Dir} -> {noreply, look(Dir, State)};
        none -> {noreply, State}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, [crashed()], state()}.
handle_call(crashed, _From, #{looked := Looked} = State) ->
    Lefts = [{StartedNs, Left} || {Path, _, StartedNs} = Left <- lists:append(maps:values(Looked)), is_there(Path)],
    {reply, [describe(Left) || {_, Left} <- lists:reverse(lists:sort(Lefts))], State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({look, Dir}, State) ->
    {noreply, look(Dir, State)}.

-spec look(binary(), state()) -> state().
look(Dir, #{looked := Looked} = State) ->
    case Looked of
        #{Dir := _} -> State;
        #{} -> State#{looked := Looked#{Dir => look_once(Dir)}}
    end.

%% The library is not loaded for a directory where there is nothing.
-spec look_once(binary()) -> [spoor_tracer:left()].
look_once(Dir) ->
    try application:get_env(spoor, keep, ?KEEP) =/= off andalso has_recordings(Dir) andalso adopt(Dir) of
        false -> [];
        Kept -> Kept
    catch
        Class:Reason ->
            ?LOG_WARNING("spoor: ~ts was not looked through: ~0p", [spoor_file:text(Dir), {Class, Reason}]),
            []
    end.

-spec has_recordings(binary()) -> boolean().
has_recordings(Dir) ->
    case file:list_dir_all(Dir) of
        {ok, Names} -> lists:any(fun(Name) -> filename:extension(Name) =:= ".spoor" end, Names);
        {error, _} -> false
    end.

-spec adopt(binary()) -> [spoor_tracer:left()].
adopt(Dir) ->
    case spoor_tracer:adopt(Dir, keep(), keep_bytes()) of
        {ok, #{kept := Kept} = Adopted} ->
            tell(Dir, Adopted),
            tell_failures(Adopted),
            Kept;
        %% Who wants to record is told.
        {error, {nif_unavailable, _}} ->
            [];
        {error, Posix} ->
            ?LOG_WARNING("spoor: ~ts was not looked through: ~ts", [spoor_file:text(Dir), file:format_error(Posix)]),
            []
    end.

%% What is written wrongly deletes nothing.
-spec keep() -> non_neg_integer().
keep() ->
    case application:get_env(spoor, keep, ?KEEP) of
        infinity -> ?INFINITY;
        N when is_integer(N), N >= 0, N < ?INFINITY -> N;
        Other -> refused(keep, Other, "a number, infinity or off")
    end.

-spec keep_bytes() -> non_neg_integer().
keep_bytes() ->
    case application:get_env(spoor, keep_bytes, infinity) of
        infinity -> ?INFINITY;
        Given ->
            case spoor_options:bytes(Given) of
                {ok, Bytes} -> Bytes;
                {error, Wanted} -> refused(keep_bytes, Given, [Wanted, ", or infinity"])
            end
    end.

-spec refused(atom(), term(), iodata()) -> non_neg_integer().
refused(Key, Value, Wanted) ->
    ?LOG_WARNING("spoor: ~ts in the application's environment is ~0P, not ~ts: nothing is deleted", [
        Key, Value, 10, Wanted
    ]),
    ?INFINITY.

%%% What is told

-spec tell(binary(), spoor_tracer:adopted()) -> ok.
tell(_Dir, #{found := [], deleted := []}) ->
    ok;
tell(Dir, #{found := Found, kept := Kept, deleted := Deleted}) ->
    ?LOG_WARNING("spoor: in ~ts, ~ts", [
        spoor_file:text(Dir),
        lists:join("; ", [Part || Part <- [found(Found), read(Found, Kept), deleted(Deleted)], Part =/= ""])
    ]).

-spec found([spoor_tracer:left()]) -> iodata().
found([]) -> "";
found([Left]) -> ["a recording of a VM that died: ", names([Left])];
found(Lefts) -> [integer_to_list(length(Lefts)), " recordings of VMs that died: ", names(Lefts)].

-spec read([spoor_tracer:left()], [spoor_tracer:left()]) -> iodata().
read([], _Kept) ->
    "";
read(Found, Kept) ->
    case [Path || {Path, _, _} = Left <- Found, lists:member(Left, Kept)] of
        [] -> "";
        [Newest | _] -> io_lib:format("to read it: spoor info ~ts, spoor calls ~ts", lists:duplicate(2, quoted(Newest)))
    end.

-spec deleted([spoor_tracer:left()]) -> iodata().
deleted([]) -> "";
deleted(Lefts) -> ["more than are kept (keep, keep_bytes) and deleted: ", names(Lefts)].

-spec names([spoor_tracer:left()]) -> iodata().
names(Lefts) ->
    {Named, Rest} = lists:split(min(?NAMED, length(Lefts)), Lefts),
    Names = [spoor_file:text(filename:basename(Path)) || {Path, _, _} <- Named],
    [lists:join(", ", Names), [io_lib:format(" and ~b more", [length(Rest)]) || Rest =/= []]].

-spec quoted(binary()) -> iodata().
quoted(Path) -> spoor_summary:quoted(Path).

-spec tell_failures(spoor_tracer:adopted()) -> ok.
tell_failures(#{failed := Failed, cut_short := CutShort}) ->
    _ = [
        ?LOG_WARNING("spoor: a recording of a VM that died could not be taken over: ~ts: ~ts~ts", [
            spoor_file:text(Path), file:format_error(Posix), more(Rest)
        ])
     || [{Path, Posix} | Rest] <- [Failed]
    ],
    _ = CutShort andalso ?LOG_WARNING("spoor: there are more recordings than are looked at", []),
    ok.

-spec more([term()]) -> iodata().
more([]) -> "";
more(Rest) -> io_lib:format(", and ~b more", [length(Rest)]).

%%% What is answered

-spec is_there(binary()) -> boolean().
is_there(Path) ->
    file:read_link_info(Path) =/= {error, enoent}.

-spec describe(spoor_tracer:left()) -> crashed().
describe({Path, Bytes, 0}) ->
    #{path => Path, bytes => Bytes};
describe({Path, Bytes, StartedNs}) ->
    Started = calendar:system_time_to_rfc3339(StartedNs div 1_000_000, [{unit, millisecond}, {offset, "Z"}]),
    #{path => Path, bytes => Bytes, started => list_to_binary(Started)}.
