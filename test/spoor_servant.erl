%% @doc Work that suites record, processes that do it when they are told to, and what
%% most cases do with a recording.
-module(spoor_servant).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([work/1, secret/1, idler/0, idle/0, tell/2, tell/3]).
-export([own_directory/2, nothing_recorded/0, start/3, start/4, stop/1, files/1]).

%% @doc For each case a directory of its own.
-spec own_directory(atom(), [{atom(), term()}]) -> [{atom(), term()}].
own_directory(Case, Config) ->
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

%% @doc A case leaves no recording behind.
-spec nothing_recorded() -> ok.
nothing_recorded() ->
    ?assertEqual([], spoor:status()),
    _ = application:stop(spoor),
    ok.

%% @doc Calls itself so many times, and once.
-spec work(non_neg_integer()) -> ok.
work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

-spec secret(binary()) -> non_neg_integer().
secret(Secret) -> byte_size(Secret).

%% @doc A process that waits for orders, see {@link tell/2}.
-spec idler() -> pid().
idler() -> spawn_link(?MODULE, idle, []).

-spec idle() -> ok.
idle() ->
    receive
        {From, work, N} ->
            ok = work(N),
            From ! {self(), done},
            idle();
        {From, spawn_work, N} ->
            {_, Monitor} = spawn_monitor(?MODULE, work, [N]),
            receive
                {'DOWN', Monitor, process, _, normal} -> From ! {self(), done}
            end,
            idle();
        {From, collect} ->
            true = garbage_collect(),
            From ! {self(), done},
            idle();
        stop ->
            ok
    end.

%% @doc Has an idler do it, and waits until it is done.
-spec tell(pid(), term()) -> ok.
tell(Pid, Order) ->
    Pid ! Order,
    receive
        {Pid, done} -> ok
    after 5000 -> error(timeout)
    end.

-spec tell(pid(), work | spawn_work, non_neg_integer()) -> ok.
tell(Pid, Order, N) -> tell(Pid, {self(), Order, N}).

%% @doc A recording in a small ring in the folder of the case.
-spec start(term(), term(), list()) -> {ok, map()} | {error, term()}.
start(What, Procs, Config) -> start(What, Procs, Config, #{}).

-spec start(term(), term(), list(), map()) -> {ok, map()} | {error, term()}.
start(What, Procs, Config, Options) ->
    Defaults = #{dir => ?config(dir, Config), ring => <<"2MiB">>, procs => Procs},
    spoor:start(What, maps:merge(Defaults, Options)).

%% @doc Its summary.
-spec stop(map()) -> map().
stop(Session) ->
    {ok, Summary} = spoor:stop(Session),
    Summary.

%% @doc Files in the folder of the case.
-spec files(list()) -> [binary()].
files(Config) ->
    Files = filelib:wildcard(filename:join(?config(dir, Config), "*")),
    lists:sort([unicode:characters_to_binary(File) || File <- Files]).
