%% @doc Records the calling of one function, in a process of its own.
-module(spoor_run).

-export([run/3]).
-export([init/3]).

-export_type([work/0]).

-type work() :: fun(() -> term()) | {module(), atom(), [term()]}.
-type outcome() :: {returned, term()} | {raised, error | exit | throw, term(), list()}.

%% @doc Runs it, stops the recording, and answers or raises what it did.
-spec run(work(), spoor_spec:plan(), fun((spoor_spec:plan()) -> {ok, spoor:session()} | {error, spoor:reason()})) ->
    {term(), spoor:summary()} | {error, spoor:reason()}.
run(Work, Plan, Start) ->
    Tag = make_ref(),
    %% Linked, as what it does would be if the caller did it itself.
    {Pid, Monitor} = proc_lib:spawn_opt(?MODULE, init, [self(), Tag, Work], [link, monitor]),
    case Start(Plan#{procs := [Pid]}) of
        {ok, Session} ->
            Pid ! {Tag, go},
            Outcome = outcome(Pid, Monitor, Tag),
            answer(Outcome, spoor:stop(Session));
        {error, _} = Error ->
            Pid ! {Tag, cancel},
            _ = outcome(Pid, Monitor, Tag),
            Error
    end.

%% @private
-spec init(pid(), reference(), work()) -> ok.
init(Caller, Tag, Work) ->
    receive
        {Tag, go} ->
            Caller ! {Tag, call(Work)},
            ok;
        {Tag, cancel} ->
            ok
    end.

-spec call(work()) -> outcome().
call(Work) ->
    try apply_work(Work) of
        Value -> {returned, Value}
    catch
        Class:Reason:Stack -> {raised, Class, Reason, Stack}
    end.

-spec apply_work(work()) -> term().
apply_work({M, F, Args}) -> apply(M, F, Args);
apply_work(Fun) -> Fun().

%% The process has ended when this answers.
-spec outcome(pid(), reference(), reference()) -> outcome().
outcome(Pid, Monitor, Tag) ->
    receive
        {'DOWN', Monitor, process, Pid, Reason} ->
            ok = forget_exit(Pid),
            receive
                {Tag, Outcome} -> Outcome
            after 0 -> {raised, exit, Reason, []}
            end
    end.

%% A caller that traps exits has been told of this one too.
-spec forget_exit(pid()) -> ok.
forget_exit(Pid) ->
    true = unlink(Pid),
    receive
        {'EXIT', Pid, _} -> ok
    after 0 -> ok
    end.

-spec answer(outcome(), {ok, spoor:summary()} | {error, spoor:reason()}) ->
    {term(), spoor:summary()} | {error, spoor:reason()}.
answer({returned, Value}, {ok, Summary}) -> {Value, Summary};
answer({returned, _Value}, {error, _} = Error) -> Error;
answer({raised, Class, Reason, Stack}, _Stopped) -> erlang:raise(Class, Reason, Stack).
