%% @doc The demo's HTTP service, with as many requests as eight clients get
%% answered: requests a second and what single ones took, by what is recorded, as a
%% user records it.
%%
%% Service and clients share a node and its two schedulers, so that what the
%% recorder takes is missing from the requests.
-module(bench_http).

-export([main/0]).

-define(CLIENTS, 8).
-define(ITEMS, 500).

%% @doc The command line: `erl … -s bench_http main -extra quick|full OUT SHM_DIR'.
-spec main() -> no_return().
main() ->
    [Mode, File, Shm] = init:get_plain_arguments(),
    {Rounds, Seconds} = case Mode of "quick" -> {1, 1}; "full" -> {5, 1.5} end,
    {ok, Port} = shop:start(),
    {ok, _} = application:ensure_all_started(spoor),
    _ = round_of(Port, Shm, Seconds / 2),
    Results = [round_of(Port, Shm, Seconds) || _ <- lists:seq(1, Rounds)],
    Lines = [line(Name, [maps:get(Name, Round) || Round <- Results]) || {Name, _} <- modes()],
    ok = file:write_file(File, Lines),
    halt(0).

modes() ->
    [{"off", nothing}, {"scheduling", scheduling}, {"requests", requests}, {"calls", shop:modules()}].

round_of(Port, Shm, Seconds) ->
    maps:from_list([{Name, recorded(Port, Shm, What, Seconds)} || {Name, What} <- modes()]).

%% What the VM does not survive is refused: `scheduling' before 25.3.2.11 and 26.2.4.
recorded(Port, _Shm, nothing, Seconds) ->
    answered(load(Port, Seconds), Seconds, 0);
recorded(Port, Shm, What, Seconds) ->
    Limits = #{time => infinity, max_events => infinity},
    case spoor:start(What, Limits#{dir => Shm, ring => <<"64MiB">>}) of
        {ok, Session} ->
            Took = load(Port, Seconds),
            {ok, #{path := Path, events := Events}} = spoor:stop(Session),
            ok = file:delete(Path),
            answered(Took, Seconds, Events);
        {error, {unsafe_on_otp, Bug}} ->
            {refused, Bug}
    end.

answered(Took, Seconds, Events) ->
    Sorted = lists:sort(Took),
    Count = length(Sorted),
    {Count / Seconds, lists:nth(Count div 2, Sorted), lists:nth(Count * 99 div 100, Sorted), Events}.

line(Name, [{refused, Bug} | _]) ->
    [lists:join($\t, ["http", [Name, ", refused on this release: ", Bug], "NaN", "NaN", "NaN", "0"]), $\n];
line(Name, Rounds) ->
    {Rates, Medians, Tails, Events} = lists:foldr(
        fun({R, M, T, E}, {Rs, Ms, Ts, Es}) -> {[R | Rs], [M | Ms], [T | Ts], [E | Es]} end,
        {[], [], [], []},
        Rounds
    ),
    Text = fun(Values) -> lists:join(",", [io_lib:format("~.1f", [float(Value)]) || Value <- Values]) end,
    Fields = ["http", Name, Text(Rates), Text(Medians), Text(Tails), integer_to_list(lists:last(Events))],
    [lists:join($\t, Fields), $\n].

%% Microseconds of each request.
load(Port, Seconds) ->
    Until = erlang:monotonic_time(microsecond) + round(Seconds * 1_000_000),
    Clients = [spawn_monitor(fun() -> exit({took, client(Port, Until)}) end) || _ <- lists:seq(1, ?CLIENTS)],
    lists:append([took(Client) || Client <- Clients]).

took({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {took, Took}} -> Took;
        {'DOWN', Monitor, process, Pid, Reason} -> exit({client_failed, Reason})
    end.

client(Port, Until) ->
    {ok, Socket} = shop_client:connect(Port),
    ask_until(Socket, Until, []).

ask_until(Socket, Until, Took) ->
    case erlang:monotonic_time(microsecond) of
        Began when Began < Until ->
            ok = shop_client:look(Socket, rand:uniform(?ITEMS)),
            ask_until(Socket, Until, [erlang:monotonic_time(microsecond) - Began | Took]);
        _ ->
            ok = shop_client:close(Socket),
            Took
    end.
