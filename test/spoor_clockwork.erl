%% @doc Work of which the time can be compared: each function does pieces of work
%% that take far longer than the tracing of a call, whoever traces. Each piece is
%% measured, for its function, in the ETS table {@link measured/0}.
-module(spoor_clockwork).

%% A piece of work is no call of its own.
-compile({inline, [work/2]}).

-export([functions/0, run/1, measured/0]).
-export([outer/1, inner/1, falling/2, even/2, odd/2, tail/2, catching/1, throwing/1, closing/1, waiting/2]).

%% @doc What does the work.
-spec functions() -> [mfa()].
functions() ->
    [{?MODULE, F, A} || {F, A} <- [
        {outer, 1}, {inner, 1}, {falling, 2}, {even, 2}, {odd, 2}, {tail, 2}, {catching, 1}, {throwing, 1},
        {closing, 1}, {waiting, 2}, {'-closing/1-fun-0-', 2}, {'-waiting/2-fun-0-', 2}
    ]].

%% @doc The table in which the work of each function is measured, in nanoseconds.
-spec measured() -> atom().
measured() -> spoor_clockwork_measured.

%% @doc Calls each function at least as often as this.
-spec run(pos_integer()) -> ok.
run(0) ->
    ok;
run(N) ->
    Data = spoor_clockwork_data:data(),
    _ = outer(Data),
    _ = falling(3, Data),
    _ = even(3, Data),
    _ = catching(Data),
    _ = closing(Data),
    _ = waiting(self(), Data),
    run(N - 1).

%% One call inside of another, and one in another module.
outer(Data) ->
    Work = spoor_clockwork_data:work(Data),
    [inner(Data), Work, work({outer, 1}, Data)].

inner(Data) ->
    [work({inner, 1}, Data), work({inner, 1}, Data)].

%% Direct recursion.
falling(0, Data) -> work({falling, 2}, Data);
falling(N, Data) -> [work({falling, 2}, Data) | falling(N - 1, Data)].

%% Two that call each other, the one as its last act; in the end a chain of tail calls.
even(0, Data) -> tail(2, Data);
even(N, Data) -> [work({even, 2}, Data) | odd(N - 1, Data)].

odd(0, Data) ->
    tail(2, Data);
odd(N, Data) ->
    true = work({odd, 2}, Data),
    even(N - 1, Data).

tail(0, Data) ->
    work({tail, 2}, Data);
tail(N, Data) ->
    true = work({tail, 2}, Data),
    tail(N - 1, Data).

catching(Data) ->
    true = work({catching, 1}, Data),
    Caught =
        try
            throwing(Data)
        catch
            throw:Thrown -> Thrown
        end,
    [Caught, inner(Data), work({catching, 1}, Data)].

throwing(Data) ->
    throw(work({throwing, 1}, Data)).

closing(Data) ->
    Fun = fun(Before) -> [work({'-closing/1-fun-0-', 2}, Data) | Before] end,
    [Fun([]), Fun([work({closing, 1}, Data)])].

%% A process that lets another work meanwhile, and waits for it.
waiting(Self, Data) ->
    Work = work({waiting, 2}, Data),
    {_, Monitor} = spawn_monitor(fun() -> Self ! {self(), work({'-waiting/2-fun-0-', 2}, Data)} end),
    receive
        {_, Done} when is_boolean(Done) -> ok
    end,
    receive
        {'DOWN', Monitor, process, _, normal} -> Work
    end.

work({F, A}, {One, Other}) ->
    Begin = erlang:monotonic_time(nanosecond),
    %% It costs no reductions: the process stays on its scheduler.
    Work = One =:= Other,
    _ = ets:update_counter(
        spoor_clockwork_measured, {?MODULE, F, A}, erlang:monotonic_time(nanosecond) - Begin, {{?MODULE, F, A}, 0}
    ),
    Work.
