%% @doc Tells the recorder what processes are called, while they live: registered
%% name, label, initial call, parent. An ordinary process, one for each recording,
%% of low priority once the recording began; nothing here is ever in the way of an event.
%%
%% First all processes there are, then, each second, those that are new. A few of
%% the others are looked at again each time, since names come late, and what is
%% in the file is overwritten in the end by what comes after.
-module(spoor_names).
-behaviour(gen_server).

-export([start_link/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

%% Processes described by one call of the recorder.
-define(BATCH, 64).
%% Processes looked at again each time.
-define(AGAIN, 256).
-define(PERIOD_MS, 1000).
%% Looking for new processes may take this part of the time at most.
-define(SHARE, 20).
%% A process that says nothing new is written down again after so many looks.
-define(REWRITE, 30).
%% Where a single entry of a dictionary cannot be asked for, dictionaries of
%% processes larger than this are left alone.
-define(LARGE_BYTES, 16 * 1024 * 1024).

%% Where proc_lib says what it started, and how it is called.
-define(KEYS, ['$initial_call', '$process_label']).

-type state() :: #{
    tracer := spoor_tracer:state(),
    owner := pid(),
    ask := [term()],
    known := #{pid() => {Hash :: non_neg_integer(), Looks :: non_neg_integer()}},
    %% Those of the known that are still to be looked at again in this round.
    round := [pid()]
}.

%% @doc Starts describing; `{spoor_names, ready}' is sent when all processes that
%% there are now have been described.
-spec start_link(spoor_tracer:state()) -> gen_server:start_ret().
start_link(Tracer) ->
    gen_server:start_link(?MODULE, {Tracer, self()}, []).

%% @private
-spec init({spoor_tracer:state(), pid()}) -> {ok, state(), {continue, first}}.
init({Tracer, Owner}) ->
    _ = process_flag(sensitive, true),
    _ = process_flag(priority, high),
    State = #{tracer => Tracer, owner => Owner, ask => questions(), known => #{}, round => []},
    {ok, State, {continue, first}}.

%% @private
-spec handle_continue(first, state()) -> {noreply, state()} | {stop, normal, state()}.
handle_continue(first, #{owner := Owner} = State) ->
    Next = look(State),
    %% Somebody waits for the first look, and on a busy node would wait for long;
    %% nobody waits for the others.
    _ = process_flag(priority, low),
    Owner ! {spoor_names, ready},
    Next.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {noreply, state()}.
handle_call(_Unexpected, _From, State) ->
    {noreply, State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_Unexpected, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_info(look, State) -> look(State);
handle_info(_Unexpected, State) -> {noreply, State}.

%% Looks once, and says when to look next; ends with the recording.
-spec look(state()) -> {noreply, state()} | {stop, normal, state()}.
look(#{known := Known, round := Round} = State) ->
    Start = erlang:monotonic_time(millisecond),
    Pids = processes(),
    New = [Pid || Pid <- Pids, not is_map_key(Pid, Known)],
    {Again, Rest} = next(Round, Known),
    case describe(New ++ Again, State) of
        {ok, Described} ->
            Took = erlang:monotonic_time(millisecond) - Start,
            _ = erlang:send_after(max(?PERIOD_MS, ?SHARE * Took), self(), look),
            {noreply, forget_dead(Pids, Described#{round := Rest})};
        closed ->
            {stop, normal, State}
    end.

-spec next([pid()], #{pid() => term()}) -> {[pid()], [pid()]}.
next([], Known) when map_size(Known) > 0 -> split(maps:keys(Known));
next(Round, _Known) -> split(Round).

-spec split([pid()]) -> {[pid()], [pid()]}.
split(Pids) when length(Pids) =< ?AGAIN -> {Pids, []};
split(Pids) -> lists:split(?AGAIN, Pids).

-spec forget_dead([pid()], state()) -> state().
forget_dead(Pids, #{known := Known} = State) when map_size(Known) > 2 * length(Pids) + ?AGAIN ->
    State#{known := maps:with(Pids, Known)};
forget_dead(_Pids, State) ->
    State.

-spec describe([pid()], state()) -> {ok, state()} | closed.
describe([], State) ->
    {ok, State};
describe(Pids, #{tracer := Tracer} = State) ->
    {Batch, Rest} = lists:split(min(?BATCH, length(Pids)), Pids),
    {Descriptions, Next} = lists:foldl(fun describe_one/2, {[], State}, Batch),
    case Descriptions =:= [] orelse spoor_tracer:describe(Tracer, Descriptions) of
        Done when Done =:= ok; Done =:= true -> describe(Rest, Next);
        {error, _} -> closed
    end.

-spec describe_one(pid(), {[spoor_tracer:description()], state()}) ->
    {[spoor_tracer:description()], state()}.
describe_one(Pid, {Descriptions, #{ask := Ask, known := Known} = State}) ->
    case description(Pid, Ask) of
        dead ->
            {Descriptions, State#{known := maps:remove(Pid, Known)}};
        Description ->
            Hash = erlang:phash2(Description),
            case Known of
                #{Pid := {Hash, Looks}} when Looks < ?REWRITE ->
                    {Descriptions, State#{known := Known#{Pid := {Hash, Looks + 1}}}};
                #{} ->
                    {[Description | Descriptions], State#{known := Known#{Pid => {Hash, 0}}}}
            end
    end.

%%% One process

%% From OTP 26.2 an entry of a dictionary can be asked for; before, only all of it.
-spec questions() -> [term()].
questions() ->
    Single = [{dictionary, Key} || Key <- ?KEYS],
    Common = [registered_name, initial_call, parent],
    try process_info(self(), Single) of
        _ -> Common ++ Single
    catch
        error:badarg -> Common
    end.

-spec description(pid(), [term()]) -> spoor_tracer:description() | dead.
description(Pid, Ask) ->
    case process_info(Pid, Ask) of
        undefined ->
            dead;
        [{registered_name, Name}, {initial_call, Spawned}, {parent, Parent} | Entries] ->
            Known = maps:from_list([{Key, V} || {Key, V} <- own_entries(Pid, Entries), V =/= undefined]),
            {
                Pid,
                pid_or_none(Parent),
                name_or_none(Name),
                maps:get('$process_label', Known, undefined),
                initial_call(Spawned, Known)
            }
    end.

-spec own_entries(pid(), [{term(), term()}]) -> [{atom(), term()}].
own_entries(_Pid, [_ | _] = Entries) ->
    lists:zip(?KEYS, [Value || {_Asked, Value} <- Entries]);
own_entries(Pid, []) ->
    case process_info(Pid, memory) of
        {memory, Bytes} when Bytes < ?LARGE_BYTES -> dictionary(Pid);
        _ -> []
    end.

-spec dictionary(pid()) -> [{atom(), term()}].
dictionary(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, All} ->
            [Entry || {Key, _} = Entry <- All, lists:member(Key, ?KEYS)];
        undefined ->
            []
    end.

-spec initial_call(mfa(), #{atom() => term()}) -> mfa().
initial_call(_Spawned, #{'$initial_call' := {M, F, A}}) when is_atom(M), is_atom(F), is_integer(A) ->
    %% A supervisor is told by its callback module, which stands in the middle.
    case {M, F, A} of
        {supervisor, Callback, 1} -> {Callback, init, 1};
        Call -> Call
    end;
initial_call(Spawned, _Known) ->
    Spawned.

-spec pid_or_none(term()) -> pid() | undefined.
pid_or_none(Pid) when is_pid(Pid) -> Pid;
pid_or_none(_Other) -> undefined.

%% A process without a name answers [].
-spec name_or_none(atom() | []) -> atom().
name_or_none(Name) when is_atom(Name) -> Name;
name_or_none([]) -> undefined.
