%% @doc An overload that goes on: the demo's service under load, recorded with a
%% rate far below a tenth of what it does, for as long as is asked for. Then is looked at
%% whether memory stayed flat, whether anything waited in a message queue, whether
%% the service is back half a second after a stop to the speed it had before the start,
%% and whether without a recording it still is as fast as before the first.
%%
%% The command line: `erl ... -s spoor_soak main -extra SECONDS DIRECTORY';
%% `test/bin/soak' says it.
-module(spoor_soak).

-export([main/0]).

-define(CLIENTS, 8).
-define(ITEMS, 500).
%% Requests are counted in buckets of this length.
-define(BUCKET_MS, 100).
-define(BUCKETS, 100_000).
%% How often the end is looked at: short recordings, each stopped in full overload.
-define(STOPS, 10).
%% So long after a stop is looked whether the service is back.
-define(LOOKED_MS, 1_500).
-define(MIB, (1024 * 1024)).

main() ->
    [Seconds, Dir] = init:get_plain_arguments(),
    {ok, Port} = shop:start(),
    Load = {counters:new(?BUCKETS, []), now_ms()},
    Clients = [spawn_link(fun() -> client(Port, Load, connect(Port)) end) || _ <- lists:seq(1, ?CLIENTS)],
    timer:sleep(2_000),
    Checks = run(list_to_integer(Seconds), Dir, Load),
    lists:foreach(fun(Client) -> unlink(Client), exit(Client, kill) end, Clients),
    Failed = length([Check || {false, _} = Check <- Checks]),
    lists:foreach(fun({Holds, Text}) -> say("~s  ~ts", [case Holds of true -> "ok    "; false -> "FAILED" end, Text]) end, Checks),
    say("== soak, ~s s, OTP ~s: ~b passed, ~b failed", [Seconds, otp(), length(Checks) - Failed, Failed]),
    halt(min(Failed, 1)).

otp() -> erlang:system_info(otp_release).

run(Seconds, Dir, Load) ->
    Before = requests(Load, 3_000),
    Offered = offered(Dir),
    %% So little that ten times as much comes also from a machine that has become slow.
    Allowed = max(1, Offered div 10 div 40),
    say("~b requests/s untraced; ~b events/s offered; allowed: ~b in 100 ms", [Before, Offered, Allowed]),
    {ok, Session} = start(#{rate => {Allowed, 100}}, Dir),
    {Took, Samples} = timer:tc(fun() -> watch(Session, Seconds) end),
    During = lists:sum([R || #{requests := R} <- per_second(Samples, Load)]) div max(1, length(Samples)),
    {ok, Summary} = spoor:stop(Session),
    #{events := Events, dropped := #{rate := Dropped}, path := Path, text := Text} = Summary,
    ok = file:delete(Path),
    say("~ts", [Text]),
    say("~b requests/s while ~.1f times as much was offered as taken", [During, (Events + Dropped) / Events]),
    {Untraced, Stops} = lists:unzip([stop_once(Dir, Allowed, Load) || _ <- lists:seq(1, ?STOPS)]),
    [
        overloaded(Events, Dropped),
        at_the_rate(Events, Allowed, Took div 1000),
        flat([Rss || #{rss := Rss} <- Samples]),
        short([Queue || #{queue := Queue} <- Samples], [Own || #{own := Own} <- Samples]),
        back(Stops),
        as_before(Before, Untraced)
    ].

%% What is worth recording of the service, and much that is not.
what() ->
    [messages, gc | shop:modules() ++ [mnesia, mnesia_tm, mnesia_locker, gen_server, lists, httpd_request_handler, httpd_request]].

start(Limits, Dir) ->
    spoor:start(what(), Limits#{dir => Dir, ring => <<"16MiB">>, time => infinity, max_events => infinity}).

%% Events a second that the VM would have had recorded.
offered(Dir) ->
    {ok, Session} = start(#{}, Dir),
    timer:sleep(2_000),
    {ok, #{events := Events, elapsed_ms := Ms, path := Path}} = spoor:stop(Session),
    ok = file:delete(Path),
    timer:sleep(1_000),
    Events * 1000 div Ms.

%% Once a second, what could grow.
watch(Session, Seconds) ->
    [
        begin
            timer:sleep(1_000),
            #{pid := Own} = spoor:status(Session),
            Lengths = [{Pid, N} || Pid <- processes(), {_, N} <- [process_info(Pid, message_queue_len)]],
            #{
                at => now_ms(),
                rss => rss(),
                queue => lists:max([N || {_, N} <- Lengths]),
                own => proplists:get_value(Own, Lengths, 0)
            }
        end
     || _ <- lists:seq(1, Seconds)
    ].

rss() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

%% Requests a second before a recording, and when after its stop, in ms, the service was
%% back to that, or `later'.
stop_once(Dir, Allowed, Load) ->
    timer:sleep(2_500),
    Usual = rate(Load, now_ms() - 2_000, now_ms() - ?BUCKET_MS),
    {ok, Session} = start(#{rate => {Allowed, 100}}, Dir),
    timer:sleep(1_500),
    {ok, #{path := Path}} = spoor:stop(Session),
    Stopped = now_ms(),
    ok = file:delete(Path),
    timer:sleep(?LOOKED_MS + 2 * ?BUCKET_MS),
    Slots = lists:seq(Stopped, Stopped + ?LOOKED_MS - 2 * ?BUCKET_MS, ?BUCKET_MS),
    case [From - Stopped || From <- Slots, rate(Load, From, From + 2 * ?BUCKET_MS) >= 0.9 * Usual] of
        [Back | _] -> {Usual, Back};
        [] -> {Usual, later}
    end.

%%% What must hold

overloaded(Events, Dropped) ->
    {Dropped + Events >= 10 * Events, io_lib:format("~.1f times more offered than taken", [(Dropped + Events) / Events])}.

at_the_rate(Events, Allowed, Ms) ->
    Most = Allowed * (Ms div 100 + 2),
    {Events =< Most, io_lib:format("~b events taken, ~b allowed at most", [Events, Most])}.

%% The first quarter is for the service to find its size.
flat(All) ->
    Rss = lists:nthtail(length(All) div 4, All),
    {First, Last} = lists:split(length(Rss) div 2, Rss),
    Grown = mean(Last) - mean(First),
    Text = io_lib:format(
        "resident memory ~.1f to ~.1f MiB, second half against first ~.2f MiB",
        [lists:min(Rss) / ?MIB, lists:max(Rss) / ?MIB, Grown / ?MIB]
    ),
    {Grown =< 8 * ?MIB andalso lists:max(Rss) - mean(First) =< 32 * ?MIB, Text}.

%% Each client waits for its answer: no queue of the service is longer than they are many.
short(Queues, Own) ->
    Text = io_lib:format("longest message queue ~b, of the recorder's process ~b", [lists:max(Queues), lists:max(Own)]),
    {lists:max(Queues) =< 2 * ?CLIENTS andalso lists:max(Own) =< 1, Text}.

%% `later' is greater than any number.
back(Stops) ->
    Sorted = lists:sort(Stops),
    Median = lists:nth(?STOPS div 2, Sorted),
    Text = io_lib:format("within 10 % of untraced after a stop: median ~w ms, of ~w (in ~b ms)", [Median, Sorted, ?LOOKED_MS]),
    {Median =< 500, Text}.

%% The best of the stretches without a recording: what a neighbour takes, it takes for a while.
as_before(Before, Untraced) ->
    [Worst, Best] = [round(F(Untraced)) || F <- [fun lists:min/1, fun lists:max/1]],
    Text = io_lib:format("between recordings ~b to ~b requests/s, before the first ~b", [Worst, Best, Before]),
    {Best >= 0.9 * Before, Text}.

mean(Values) -> lists:sum(Values) / max(1, length(Values)).

%%% Load

now_ms() -> erlang:monotonic_time(millisecond).

bucket({_, Start}, Ms) -> (Ms - Start) div ?BUCKET_MS rem ?BUCKETS + 1.

%% Requests a second in the next so many milliseconds.
requests(Load, Ms) ->
    From = now_ms(),
    timer:sleep(Ms),
    round(rate(Load, From, From + Ms)).

%% Requests a second, in whole buckets.
rate({Counters, _} = Load, From, To) ->
    Places = lists:seq(bucket(Load, From) + 1, bucket(Load, To)),
    lists:sum([counters:get(Counters, Place) || Place <- Places]) * 1000 / (max(1, length(Places)) * ?BUCKET_MS).

per_second(Samples, Load) ->
    [#{requests => round(rate(Load, At - 1_000, At - ?BUCKET_MS))} || #{at := At} <- Samples].

client(Port, {Counters, _} = Load, Socket) ->
    case shop_client:look(Socket, rand:uniform(?ITEMS)) of
        ok ->
            counters:add(Counters, bucket(Load, now_ms()), 1),
            client(Port, Load, Socket);
        {error, closed} ->
            client(Port, Load, connect(Port))
    end.

connect(Port) ->
    {ok, Socket} = shop_client:connect(Port),
    Socket.

say(Format, Values) -> io:format(Format ++ "~n", Values).
