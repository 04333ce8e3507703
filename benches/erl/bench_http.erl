%% @doc The demo's HTTP service, with as many requests as eight clients get
%% answered: requests a second and what single ones took, by what is recorded.
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
    Recorder = bench_variants:open(spoor, #{shm => Shm, disk => Shm, ring => 64 * 1024 * 1024}),
    _ = round_of(Port, Recorder, Seconds / 2),
    Results = [round_of(Port, Recorder, Seconds) || _ <- lists:seq(1, Rounds)],
    {file, Path, _} = bench_variants:close(Recorder),
    ok = file:delete(Path),
    Lines = [line(Name, [maps:get(Name, Round) || Round <- Results]) || {Name, _, _} <- modes()],
    ok = file:write_file(File, Lines),
    halt(0).

%% Who runs when is traced only where the VM survives it: a traced process on a
%% dirty scheduler could crash it before 25.3.2.11 and 26.2.4.
modes() ->
    Calls = {"calls", [call, return_to, arity], shop:modules()},
    Requests = {"requests", [call, return_to, arity], [shop_web, shop_orders]},
    case list_to_integer(erlang:system_info(otp_release)) >= 27 of
        true -> [{"off", [], []}, Requests, Calls, {"scheduling", [running, procs], []}];
        false -> [{"off", [], []}, Requests, Calls]
    end.

round_of(Port, Recorder, Seconds) ->
    maps:from_list([{Name, recorded(Port, Recorder, Mode, Seconds)} || {Name, _, _} = Mode <- modes()]).

recorded(Port, Recorder, {_, Flags, Modules}, Seconds) ->
    {Before, _} = bench_variants:stored(Recorder),
    Set = fun(On) -> [erlang:trace_pattern({Module, '_', '_'}, On, [local]) || Module <- Modules] end,
    Set(true),
    Flags =/= [] andalso bench_variants:trace_all(Recorder, Flags),
    Took = load(Port, Seconds),
    erlang:trace(all, false, [all]),
    Set(false),
    {After, _} = bench_variants:stored(Recorder),
    Sorted = lists:sort(Took),
    Count = length(Sorted),
    {Count / Seconds, lists:nth(Count div 2, Sorted), lists:nth(Count * 99 div 100, Sorted), After - Before}.

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
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, http_bin}, {nodelay, true}]),
    ask_until(Socket, Until, []).

ask_until(Socket, Until, Took) ->
    case erlang:monotonic_time(microsecond) of
        Began when Began < Until ->
            Item = integer_to_list(rand:uniform(?ITEMS)),
            ok = gen_tcp:send(Socket, ["GET /stock/", Item, " HTTP/1.1\r\nHost: shop\r\n\r\n"]),
            ok = answer(Socket, 0),
            ask_until(Socket, Until, [erlang:monotonic_time(microsecond) - Began | Took]);
        _ ->
            ok = gen_tcp:close(Socket),
            Took
    end.

answer(Socket, Length) ->
    case gen_tcp:recv(Socket, 0, 5_000) of
        {ok, {http_response, _, 200, _}} -> answer(Socket, Length);
        {ok, {http_header, _, 'Content-Length', _, Text}} -> answer(Socket, binary_to_integer(Text));
        {ok, {http_header, _, _, _, _}} -> answer(Socket, Length);
        {ok, http_eoh} -> body(Socket, Length)
    end.

body(Socket, Length) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, _} = gen_tcp:recv(Socket, Length, 5_000),
    inet:setopts(Socket, [{packet, http_bin}]).
