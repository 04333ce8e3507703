%% @doc Others who trace on this node, where that matters: before OTP 27 any of
%% them, since the VM has one tracer for each process; later those that trace
%% garbage collection.
-module(spoor_conflict).

-export([check/3, is_gc_traced_beside/2, is_beginning/1]).

-export_type([error/0]).

%% So many functions are named to whoever asks.
-define(NAMED, 10).

-type error() ::
    {error, {tracer_conflict, [pid() | port() | new_processes | mfa() | on_load | send | 'receive']}}
    | {error, {unsafe_on_otp, spoor_hazard:bug()}}.

%% @doc Refuses a plan that would meet somebody else's tracing. Nothing changes.
-spec check(spoor_tracing:api(), spoor_spec:plan(), spoor_tracing:targets()) -> ok | error().
check(_Api, _Plan, none) ->
    ok;
check(legacy, #{patterns := Patterns} = Plan, Targets) ->
    case taken(candidates(Targets)) ++ patterns_taken(Patterns) ++ messages_taken(Plan) of
        [] -> ok;
        Taken -> {error, {tracer_conflict, Taken}}
    end;
check({session, Api}, #{flags := Flags, options := #{force := Force}}, _Targets) ->
    case not Force andalso lists:member(garbage_collection, Flags) andalso gc_is_traced(Api, []) of
        true -> {error, {unsafe_on_otp, <<"GH-11624">>}};
        false -> ok
    end.

%% @doc Does another session than this one trace garbage collections, of any process?
-spec is_gc_traced_beside(module(), Session :: term()) -> boolean().
is_gc_traced_beside(Api, {_Strong, Weak}) ->
    gc_is_traced(Api, [Weak]).

%% @doc Is anybody in the middle of a call that gives trace flags to processes? Whether it
%% gives them that of garbage collections is seen when it is done.
-spec is_beginning(module()) -> boolean().
is_beginning(Api) ->
    lists:any(fun(Pid) -> is_beginning(Api, Pid) end, processes()).

-spec is_beginning(module(), pid()) -> boolean().
is_beginning(Api, Pid) ->
    case process_info(Pid, current_stacktrace) of
        {_, Frames} -> lists:any(fun({M, F, _, _}) -> {M, F} =:= {erlang, trace} orelse {M, F} =:= {Api, process} end, Frames);
        undefined -> false
    end.

-spec candidates(spoor_tracing:targets()) -> [pid() | port() | new_processes].
candidates(new) -> [new_processes];
candidates(all) -> [new_processes | candidates(existing)];
candidates(existing) -> processes() ++ erlang:ports();
candidates(Pids) -> Pids.

-spec taken([pid() | port() | new_processes]) -> [pid() | port() | new_processes].
taken(Candidates) ->
    [Target || Target <- Candidates, not is_free(spoor_tracing:tracer_of(Target))].

%% A tracer that is dead, or of a recording that has ended, is nobody's.
-spec is_free(none | pid() | port() | {module(), term()}) -> boolean().
is_free(none) -> true;
is_free({spoor_tracer, State}) -> spoor_tracer:status(State) =:= {error, closed};
is_free(Pid) when is_pid(Pid), node(Pid) =:= node() -> not is_process_alive(Pid);
is_free(_Tracer) -> false.

%% Functions that somebody has set trace patterns on: ours would replace them; the same
%% of modules that are loaded later.
-spec patterns_taken([spoor_spec:pattern()]) -> [mfa() | on_load].
patterns_taken(Patterns) ->
    Named = lists:flatmap(fun spoor_functions:named/1, Patterns),
    Later = [on_load || {'_', _, _} <- Patterns],
    lists:sublist([Function || Function <- Later ++ lists:usort(Named), is_patterned(Function)], ?NAMED).

%% A pattern of somebody, or left by somebody, would leave out messages without a word.
%% That of `requests' is set meanwhile, and given back.
-spec messages_taken(spoor_spec:plan()) -> [send | 'receive'].
messages_taken(#{messages := all, flags := Flags}) ->
    [Event || {Event, Known} <- spoor_requests:known(), Known =/= true, lists:member(Event, Flags)];
messages_taken(_Plan) ->
    [].

-spec is_patterned(mfa() | on_load) -> boolean().
is_patterned(Function) ->
    case erlang:trace_info(Function, traced) of
        {traced, Kind} -> Kind =:= local orelse Kind =:= global;
        undefined -> false
    end.

-spec gc_is_traced(module(), Ours :: [term()]) -> boolean().
gc_is_traced(Api, Ours) ->
    lists:any(fun(Target) -> gc_is_traced(Api, Target, Ours) end, [new_processes | processes()]).

-spec gc_is_traced(module(), pid() | new_processes, Ours :: [term()]) -> boolean().
gc_is_traced(Api, new_processes = Target, Ours) ->
    lists:any(fun(S) -> session_traces_gc(Api, S, Target) end, sessions(Api, all) -- Ours);
gc_is_traced(Api, Pid, Ours) ->
    lists:any(fun(S) -> session_traces_gc(Api, S, Pid) end, sessions(Api, Pid) -- Ours).

-spec sessions(module(), all | pid()) -> [term()].
sessions(Api, Target) ->
    try Api:session_info(Target) of
        Sessions when is_list(Sessions) -> Sessions;
        undefined -> []
    catch
        %% The process is gone.
        error:badarg -> []
    end.

%% The VM's own session is not named by a handle but reached by erlang:trace_info/2.
-spec session_traces_gc(module(), term(), pid() | new_processes) -> boolean().
session_traces_gc(_Api, {legacy, default}, Target) ->
    has_gc(fun() -> erlang:trace_info(Target, flags) end);
session_traces_gc(Api, Session, Target) ->
    has_gc(fun() -> Api:info(Session, Target, flags) end).

-spec has_gc(fun(() -> undefined | {flags, [atom()]})) -> boolean().
has_gc(Flags) ->
    try Flags() of
        {flags, List} -> lists:member(garbage_collection, List);
        undefined -> false
    catch
        %% The session or the process is gone.
        error:badarg -> false
    end.
