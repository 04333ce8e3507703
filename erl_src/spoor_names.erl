%% @doc Tells the recorder what processes are called, while they live: registered
%% name, label, initial call, parent. An ordinary process, one for each recording,
%% of low priority once the recording began; nothing here is ever in the way of an event.
%%
%% First all processes there are, then, each second, those that are new. A few of
%% the others are looked at again each time, since names come late, and what is
%% in the file is overwritten in the end by what comes after. What was told of whom the
%% recorder knows, in eight bytes for each process: here nothing is kept.
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
%% Where a single entry of a dictionary cannot be asked for, dictionaries of
%% processes larger than this are left alone.
-define(LARGE_BYTES, 16 * 1024 * 1024).

%% Where proc_lib says what it started, and how it is called.
-define(KEYS, ['$initial_call', '$process_label']).

-type state() :: #{
    tracer := spoor_tracer:state(),
    owner := pid(),
    ask := [term()],
    %% Behind how many of the processes it goes on to look again.
    looked := non_neg_integer()
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
    State = #{tracer => Tracer, owner => Owner, ask => questions(), looked => 0},
    {ok, State, {continue, first}}.

%% @private
-spec handle_continue(first, state()) -> {noreply, state(), hibernate} | {stop, normal, state()}.
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
-spec handle_info(term(), state()) -> {noreply, state()} | {noreply, state(), hibernate} | {stop, normal, state()}.
handle_info(look, State) -> look(State);
handle_info(_Unexpected, State) -> {noreply, State}.

%% Looks once, and says when to look next; ends with the recording. In between it
%% hibernates: the list of all processes is as large as they are many.
-spec look(state()) -> {noreply, state(), hibernate} | {stop, normal, state()}.
look(State) ->
    Start = erlang:monotonic_time(millisecond),
    Pids = processes(),
    {Again, Next} = again(Pids, State),
    case describe_new(Pids, State) =:= ok andalso describe(Again, Next) of
        ok ->
            Took = erlang:monotonic_time(millisecond) - Start,
            _ = erlang:send_after(max(?PERIOD_MS, ?SHARE * Took), self(), look),
            {noreply, Next, hibernate};
        _Closed ->
            {stop, normal, State}
    end.

%% The processes are listed in the order of the VM's table: where some came or went, one may be
%% looked at twice, or a round later.
-spec again([pid()], state()) -> {[pid()], state()}.
again(Pids, #{looked := Looked} = State) ->
    case Looked < length(Pids) of
        true -> {lists:sublist(Pids, Looked + 1, ?AGAIN), State#{looked := Looked + ?AGAIN}};
        false -> {lists:sublist(Pids, ?AGAIN), State#{looked := ?AGAIN}}
    end.

-spec describe_new([pid()], state()) -> ok | closed.
describe_new([], _State) ->
    ok;
describe_new(Pids, #{tracer := Tracer} = State) ->
    case spoor_tracer:undescribed(Tracer, Pids) of
        {New, Rest} when is_list(New) ->
            case describe(New, State) of
                ok -> describe_new(Rest, State);
                closed -> closed
            end;
        {error, _} ->
            closed
    end.

-spec describe([pid()], state()) -> ok | closed.
describe([], _State) ->
    ok;
describe(Pids, #{tracer := Tracer, ask := Ask} = State) ->
    {Batch, Rest} = lists:split(min(?BATCH, length(Pids)), Pids),
    case spoor_tracer:describe(Tracer, [D || Pid <- Batch, D <- [description(Pid, Ask)], D =/= dead]) of
        ok -> describe(Rest, State);
        {error, _} -> closed
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
            Said = {
                pid_or_none(Parent),
                name_or_none(Name),
                maps:get('$process_label', Known, undefined),
                initial_call(Spawned, Known)
            },
            {Of, Called, Label, Initial} = Said,
            {Pid, Of, Called, Label, Initial, erlang:phash2(Said)}
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
    %% Of a supervisor, Elixir's too, that is {supervisor, Callback, 1}: only so one is known from others.
    {M, F, A};
initial_call(Spawned, _Known) ->
    Spawned.

-spec pid_or_none(term()) -> pid() | undefined.
pid_or_none(Pid) when is_pid(Pid) -> Pid;
pid_or_none(_Other) -> undefined.

%% A process without a name answers [].
-spec name_or_none(atom() | []) -> atom().
name_or_none(Name) when is_atom(Name) -> Name;
name_or_none([]) -> undefined.
