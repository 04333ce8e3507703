%% @doc What `spoor requests' says of a server and its clients is what they know
%% of themselves.
-module(spoor_requests_SUITE).
-behaviour(gen_server).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([a_queue_before_a_server/1, requests_without_a_reply/1, a_reply_from_another_process/1, only_requests_are_recorded/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(SERVER_NAME, spoor_requests_server).
-define(SERVICE_MS, 10).
-define(CLIENTS, 10).

all() ->
    [a_queue_before_a_server, requests_without_a_reply, a_reply_from_another_process, only_requests_are_recorded].

init_per_testcase(Case, Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    {ok, _} = gen_server:start({local, ?SERVER_NAME}, ?MODULE, [], []),
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    _ = [gen_server:stop(Pid) || Pid <- [whereis(?SERVER_NAME)], is_pid(Pid)],
    ok.

%%% The server

init([]) -> {ok, none}.

handle_call({work, Ms}, _From, State) ->
    timer:sleep(Ms),
    {reply, done, State};
handle_call(delegate, From, State) ->
    _ = spawn(fun() -> gen_server:reply(From, done) end),
    {noreply, State};
handle_call(die, _From, _State) ->
    exit(shutdown).

handle_cast(_Message, State) -> {noreply, State}.

%%% Cases

%% Ten clients at once: one waits for no other, one for nine.
a_queue_before_a_server(Config) ->
    {ok, Session} = start(Config),
    Waits = [Ns || {_, Ns} <- at_once(?CLIENTS, fun() -> gen_server:call(?SERVER_NAME, {work, ?SERVICE_MS}) end)],
    #{<<"client_wait">> := Client, <<"mailbox_wait">> := Mailbox, <<"service">> := Service} =
        Server = stop(Session),
    ?assertMatch(#{<<"requests">> := ?CLIENTS, <<"answered">> := ?CLIENTS, <<"queue_max">> := 9}, Server),
    %% The clients' own watches ran a little longer than from send to receive.
    Ms = 1_000_000,
    ?assert(maps:get(<<"max_ns">>, Client) =< lists:max(Waits)),
    ?assert(maps:get(<<"max_ns">>, Client) >= ?CLIENTS * ?SERVICE_MS * Ms),
    ?assert(maps:get(<<"max_ns">>, Mailbox) >= (?CLIENTS - 1) * ?SERVICE_MS * Ms),
    ?assert(maps:get(<<"p50_ns">>, Service) >= ?SERVICE_MS * Ms),
    ?assert(maps:get(<<"max_ns">>, Mailbox) + ?SERVICE_MS * Ms =< lists:max(Waits)).

requests_without_a_reply(Config) ->
    {ok, Session} = start(Config),
    ?assertExit({timeout, _}, gen_server:call(?SERVER_NAME, {work, 50}, 10)),
    timer:sleep(100),
    ok = gen_server:cast(?SERVER_NAME, nothing_to_answer),
    ?assertExit({shutdown, _}, gen_server:call(?SERVER_NAME, die)),
    Server = stop(Session),
    ?assertMatch(
        #{<<"requests">> := 2, <<"answered">> := 0, <<"timed_out">> := 1, <<"late_replies">> := 1, <<"server_died">> := 1},
        Server
    ),
    %% Nobody waited for a reply to its end.
    ?assertMatch(#{<<"client_wait">> := undefined, <<"delivery">> := undefined}, Server).

a_reply_from_another_process(Config) ->
    {ok, Session} = start(Config),
    done = gen_server:call(?SERVER_NAME, delegate),
    ?assertMatch(#{<<"requests">> := 1, <<"answered">> := 1, <<"replied_by_other">> := 1}, stop(Session)).

%% The preset leaves out what is neither asked nor answered, and sets nothing for good.
only_requests_are_recorded(Config) ->
    Before = [erlang:trace_info(What, match_spec) || What <- [send, 'receive']],
    {ok, #{path := Path} = Session} = start(Config),
    [self() ! {nothing, N} || N <- lists:seq(1, 100)],
    done = gen_server:call(?SERVER_NAME, {work, 1}),
    {ok, _} = spoor:stop(Session),
    ?assertEqual(Before, [erlang:trace_info(What, match_spec) || What <- [send, 'receive']]),
    Kinds = [K || #{<<"kind">> := K} <- spoor_reading:json_lines("dump", [Path]), K =:= <<"send">> orelse K =:= <<"receive">>],
    ?assert(length(Kinds) >= 4),
    ?assert(length(Kinds) < 20),
    [receive {nothing, N} -> ok end || N <- lists:seq(1, 100)].

%%% Helpers

start(Config) ->
    spoor:start(requests, #{dir => ?config(dir, Config), ring => <<"2MiB">>}).

%% What is said of the server.
stop(Session) ->
    {ok, #{path := Path}} = spoor:stop(Session),
    #{<<"servers">> := Servers} = spoor_reading:json("requests", [Path]),
    [Server] = [S || #{<<"server">> := <<"spoor_requests_server", _/binary>>} = S <- Servers],
    Server.

at_once(Number, Work) ->
    Self = self(),
    Pids = [
        spawn_link(fun() ->
            Start = erlang:monotonic_time(nanosecond),
            Result = Work(),
            Self ! {self(), Result, erlang:monotonic_time(nanosecond) - Start}
        end)
     || _ <- lists:seq(1, Number)
    ],
    [receive {Pid, Result, Ns} -> {Result, Ns} end || Pid <- Pids].
