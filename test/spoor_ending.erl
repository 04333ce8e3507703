%% @doc For the suites about how recordings end: work that is recorded, how a recording
%% begins, and that nothing of it is left.
-module(spoor_ending).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([begun/2, nothing_left/0, start/3, start/4, stop/1, await_end/1, assert_gone/2, traced/0]).
-export([work/1, server/0, do/2, spawn_load/1, stop_load/1]).

%% @doc For each case a directory of its own.
-spec begun(atom(), [{atom(), term()}]) -> [{atom(), term()}].
begun(Case, Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    spoor_servant:own_directory(Case, Config).

%% @doc A case leaves no recording behind.
-spec nothing_left() -> ok.
nothing_left() ->
    ?assertEqual([], spoor:status()),
    %% A recording answers a moment before it is gone.
    spoor_leftovers:eventually(fun() -> supervisor:which_children(spoor_recording_sup) =:= [] end),
    application:stop(spoor).

%%% Recordings

-spec start(term(), term(), list()) -> {ok, map()} | {error, term()}.
start(What, Procs, Config) -> start(What, Procs, Config, #{}).

%% @doc A recording in a small ring in the folder of the case.
-spec start(term(), term(), list(), map()) -> {ok, map()} | {error, term()}.
start(What, Procs, Config, Options) ->
    Defaults = #{dir => ?config(dir, Config), ring => <<"1MiB">>, procs => Procs},
    spoor:start(What, maps:merge(Defaults, Options)).

%% @doc Its summary.
-spec stop(map()) -> map().
stop(Session) -> spoor_servant:stop(Session).

%% @doc Waits until the process of a recording is gone.
-spec await_end(map()) -> ok.
await_end(#{pid := Pid}) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    after 5000 -> ct:fail(still_recording)
    end.

%% @doc Nothing of a recording is left.
-spec assert_gone(map(), binary()) -> ok.
assert_gone(#{pid := Pid}, Path) ->
    ?assertNot(is_process_alive(Pid)),
    spoor_leftovers:assert_none(Path),
    ?assertEqual(false, traced()).

%% @doc Is {@link work/1} traced?
-spec traced() -> term().
traced() ->
    {traced, Traced} = erlang:trace_info({?MODULE, work, 1}, traced),
    Traced.

%%% Work to record

%% @doc Calls itself so many times, and once.
-spec work(non_neg_integer()) -> ok.
work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

%% @doc A process that works when it is told to, see {@link do/2}.
-spec server() -> ok.
server() ->
    receive
        {From, N} ->
            ok = work(N),
            From ! {self(), done},
            server();
        stop ->
            ok
    end.

%% @doc Has a server work, and waits until it has.
-spec do(pid(), non_neg_integer()) -> ok.
do(Pid, N) ->
    Pid ! {self(), N},
    receive
        {Pid, done} -> ok
    after 5000 -> error(timeout)
    end.

%% @doc Keeps servers busy, and spawns beside them.
-spec spawn_load(pid() | [pid()]) -> {pid(), [pid()]}.
spawn_load(Server) when is_pid(Server) ->
    spawn_load([Server]);
spawn_load(Servers) ->
    {spawn_link(fun() -> load(Servers) end), Servers}.

load(Servers) ->
    _ = [ok = do(Server, 50) || Server <- Servers],
    _ = spawn(fun() -> work(10) end),
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 -> load(Servers)
    end.

%% @doc Ends the load and its servers.
-spec stop_load({pid(), [pid()]}) -> [stop].
stop_load({Pid, Servers}) ->
    Pid ! {stop, self()},
    receive
        {Pid, stopped} -> [Server ! stop || Server <- Servers]
    end.
