%% @doc Knows the recordings: which are open, which one may use the VM's only
%% tracer before OTP 27, how those that ended came out. Turns tracing off for a
%% recording that was killed before it could.
%%
%% A recording claims its place before it touches the VM and gives it back by
%% {@link ended/2} or by dying. The registry never calls a recording.
-module(spoor_registry).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, claim/1, tracing/1, ended/1, ended/2, recordings/0, summary/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([use/0]).

%% Summaries kept of recordings that have ended.
-define(KEPT, 32).

-type use() :: shared | only.
%% `only' is granted to one recording at a time.

-type entry() :: #{
    monitor := reference(),
    number := pos_integer(),
    use := use(),
    tracing := spoor_tracing:tracing() | none
}.

-type state() :: #{
    next := pos_integer(),
    open := #{pid() => entry()},
    ended := [{spoor:id(), spoor:summary()}]
}.

%% @private
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Takes a place for the calling recording.
-spec claim(use()) -> ok | {error, {already_recording, [pid()]}}.
claim(Use) -> gen_server:call(?MODULE, {claim, Use}, infinity).

%% @doc Says what has to be turned off should the calling recording be killed.
-spec tracing(spoor_tracing:tracing()) -> ok.
tracing(Tracing) -> gen_server:call(?MODULE, {tracing, Tracing}, infinity).

%% @doc The calling recording never began.
-spec ended(none) -> ok.
ended(none) -> gen_server:call(?MODULE, ended, infinity).

%% @doc The calling recording has ended and turned tracing off.
-spec ended(spoor:id(), spoor:summary()) -> ok.
ended(Id, Summary) -> gen_server:call(?MODULE, {ended, Id, Summary}, infinity).

%% @doc The processes of open recordings, oldest first.
-spec recordings() -> [pid()].
recordings() -> gen_server:call(?MODULE, recordings, infinity).

%% @doc How a recording came out that has ended not long ago.
-spec summary(spoor:id()) -> {ok, spoor:summary()} | error.
summary(Id) -> gen_server:call(?MODULE, {summary, Id}, infinity).

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    _ = process_flag(sensitive, true),
    {ok, #{next => 1, open => #{}, ended => []}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({claim, Use}, {Pid, _}, #{open := Open, next := Number} = State) ->
    case Use =:= only andalso [Other || {Other, #{use := only}} <- maps:to_list(Open)] of
        [_ | _] = Others ->
            {reply, {error, {already_recording, Others}}, State};
        _Granted ->
            Entry = #{monitor => monitor(process, Pid), number => Number, use => Use, tracing => none},
            {reply, ok, State#{next := Number + 1, open := Open#{Pid => Entry}}}
    end;
handle_call({tracing, Tracing}, {Pid, _}, #{open := Open} = State) ->
    #{Pid := Entry} = Open,
    {reply, ok, State#{open := Open#{Pid := Entry#{tracing := Tracing}}}};
handle_call(ended, {Pid, _}, State) ->
    {reply, ok, release(Pid, State)};
handle_call({ended, Id, Summary}, {Pid, _}, #{ended := Ended} = State) ->
    Kept = lists:sublist([{Id, Summary} | Ended], ?KEPT),
    {reply, ok, release(Pid, State#{ended := Kept})};
handle_call(recordings, _From, #{open := Open} = State) ->
    ByAge = lists:sort([{Number, Pid} || {Pid, #{number := Number}} <- maps:to_list(Open)]),
    {reply, [Pid || {_, Pid} <- ByAge], State};
handle_call({summary, Id}, _From, #{ended := Ended} = State) ->
    case lists:keyfind(Id, 1, Ended) of
        {Id, Summary} -> {reply, {ok, Summary}, State};
        false -> {reply, error, State}
    end.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Unexpected, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', _, process, Pid, _Killed}, #{open := Open} = State) ->
    case Open of
        #{Pid := #{tracing := Tracing}} when Tracing =/= none -> stop_tracing(Tracing);
        #{} -> ok
    end,
    {noreply, State#{open := maps:remove(Pid, Open)}};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% Whatever is wrong with one recording, the others need the registry.
-spec stop_tracing(spoor_tracing:tracing()) -> ok.
stop_tracing(Tracing) ->
    try spoor_tracing:stop(Tracing)
    catch
        Class:Reason -> ?LOG_ERROR("spoor: tracing could not be turned off: ~0p", [{Class, Reason}])
    end.

-spec release(pid(), state()) -> state().
release(Pid, #{open := Open} = State) ->
    case maps:take(Pid, Open) of
        {#{monitor := Monitor}, Rest} ->
            true = demonitor(Monitor, [flush]),
            State#{open := Rest};
        error ->
            State
    end.
