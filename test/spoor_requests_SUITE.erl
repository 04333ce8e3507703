%% @doc What `spoor requests' says of a server and its clients is what they know
%% of themselves.
-module(spoor_requests_SUITE).
-behaviour(gen_server).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([a_queue_before_a_server/1, requests_without_a_reply/1, a_reply_from_another_process/1, only_requests_are_recorded/1]).
-export([every_way_to_ask/1, calls_that_are_postponed/1, requests_between_nodes/1, what_was_overwritten_is_never_timed/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_event/2, handle_call/2]).
-export([callback_mode/0, shut/3, open/3]).
-export([start_server/1, record/1, ask/2, seen_by_the_server/1]).

-define(SERVER_NAME, spoor_requests_server).
-define(SERVICE_MS, 10).
-define(CLIENTS, 10).

all() ->
    [
        a_queue_before_a_server,
        requests_without_a_reply,
        a_reply_from_another_process,
        only_requests_are_recorded,
        every_way_to_ask,
        calls_that_are_postponed,
        requests_between_nodes,
        what_was_overwritten_is_never_timed
    ].

init_per_testcase(Case, Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    {ok, _} = gen_server:start({local, ?SERVER_NAME}, ?MODULE, [], []),
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) ->
    _ = spoor:stop(),
    _ = [gen_server:stop(Pid) || Pid <- [whereis(?SERVER_NAME)], is_pid(Pid)],
    ok.

%%% The server counts what it is asked. The door is a gen_statem, shut at first.

init([]) -> {ok, 0};
init(event_handler) -> {ok, 0};
init(door) -> {ok, shut, 0}.

handle_call({work, Ms}, _From, Count) ->
    _ = [timer:sleep(Ms) || Ms > 0],
    {reply, done, Count + 1};
handle_call(delegate, From, Count) ->
    _ = spawn(fun() -> gen_server:reply(From, done) end),
    {noreply, Count + 1};
handle_call(count, _From, Count) ->
    {reply, Count, Count};
handle_call(die, _From, _Count) ->
    exit(shutdown).

handle_cast(_Message, Count) -> {noreply, Count}.

handle_event(_Event, Count) -> {ok, Count}.

handle_call(_Request, Count) -> {ok, done, Count}.

callback_mode() -> state_functions.

shut({call, From}, knock, Count) -> {keep_state, Count + 1, [{reply, From, nobody}]};
shut({call, _From}, enter, Count) -> {keep_state, Count, [postpone]};
shut(cast, open, Count) -> {next_state, open, Count}.

open({call, From}, _Request, Count) -> {keep_state, Count + 1, [{reply, From, come}]}.

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
    Server = #{<<"split">> := Split} = stop(Session),
    ?assertMatch(#{<<"requests">> := 0}, Split),
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

%% Plain calls, calls answered at leisure, one request to several nodes, calls of event
%% handlers and of the system: each is counted once, and its parts add up.
every_way_to_ask(Config) ->
    {ok, Events} = gen_event:start({local, spoor_requests_events}),
    ok = gen_event:add_handler(Events, ?MODULE, event_handler),
    {ok, Session} = start(Config),
    Work = {work, 0},
    _ = at_once(5, fun() -> [done = gen_server:call(?SERVER_NAME, Work) || _ <- lists:seq(1, 20)] end),
    Answer = fun(Id) -> {reply, done} = gen_server:receive_response(Id, 5000) end,
    [Answer(Id) || Id <- [gen_server:send_request(?SERVER_NAME, Work) || _ <- lists:seq(1, 10)]],
    Add = fun(N, Ids) -> gen_server:send_request(?SERVER_NAME, Work, N, Ids) end,
    ok = all_of(lists:foldl(Add, gen_server:reqids_new(), lists:seq(1, 10))),
    [{[{_, done}], []} = gen_server:multi_call([node()], ?SERVER_NAME, Work, Limit) || Limit <- [5000, infinity], _ <- [1, 2, 3]],
    [done = gen_event:call(Events, ?MODULE, Work) || _ <- lists:seq(1, 7)],
    [0 = sys:get_state(whereis(spoor_requests_door)) || is_pid(whereis(spoor_requests_door))],
    Count = gen_server:call(?SERVER_NAME, count),
    ?assertEqual(Count, sys:get_state(?SERVER_NAME)),
    Rows = rows(Session, []),
    ok = gen_event:stop(Events),
    All = Count + 2,
    ?assertEqual(100 + 10 + 10 + 6, Count),
    Server = row(<<"spoor_requests_server">>, Rows),
    ?assertMatch(#{<<"requests">> := All, <<"answered">> := All, <<"across_losses">> := 0, <<"server_unseen">> := 0}, Server),
    ?assertMatch(#{<<"split">> := #{<<"requests">> := All}, <<"not_split">> := 0}, Server),
    ?assertMatch(#{<<"requests">> := 7, <<"answered">> := 7}, row(<<"spoor_requests_events">>, Rows)).

all_of(Ids) ->
    case gen_server:receive_response(Ids, 5000, true) of
        no_request -> ok;
        {{reply, done}, _Label, Left} -> all_of(Left)
    end.

%% Whoever knocks is answered before those who came earlier and wait for the door.
calls_that_are_postponed(Config) ->
    {ok, Door} = gen_statem:start({local, spoor_requests_door}, ?MODULE, door, []),
    {ok, Session} = start(Config),
    Ids = [gen_statem:send_request(Door, enter) || _ <- lists:seq(1, 5)],
    [nobody = gen_statem:call(Door, knock) || _ <- lists:seq(1, 10)],
    _ = spawn_monitor(fun() -> gen_statem:call(Door, enter, 10) end),
    receive {'DOWN', _, process, _, {timeout, _}} -> ok end,
    ok = gen_statem:cast(Door, open),
    [{reply, come} = gen_statem:receive_response(Id, 5000) || Id <- Ids],
    %% The state, and with it the count of what was answered.
    {open, Count} = sys:get_state(Door),
    Rows = rows(Session, []),
    ok = gen_statem:stop(Door),
    Row = row(<<"spoor_requests_door">>, Rows),
    All = Count + 1,
    ?assertMatch(
        #{<<"requests">> := All, <<"timed_out">> := 1, <<"late_replies">> := 1, <<"unanswered">> := 0}, Row
    ),
    ?assertEqual(All - 1, maps:get(<<"answered">>, Row)).

%% Two VMs, each recorded by itself: each recording tells its half, both together all.
requests_between_nodes(Config) ->
    {ok, A, NodeA} = vm(Config),
    {ok, B, NodeB} = vm(Config),
    {ok, _} = peer:call(B, ?MODULE, start_server, [remote_server]),
    true = peer:call(A, net_kernel, connect_node, [NodeB]),
    [{ok, _}, {ok, _}] = [peer:call(Vm, ?MODULE, record, [dir(Config)]) || Vm <- [A, B]],
    Number = 40,
    ok = peer:call(A, ?MODULE, ask, [{remote_server, NodeB}, Number]),
    Number = peer:call(B, ?MODULE, seen_by_the_server, [remote_server]),
    [FileA, FileB] = [Path || Vm <- [A, B], {ok, [#{path := Path}]} <- [peer:call(Vm, spoor, stop, [])]],
    [peer:stop(Vm) || Vm <- [A, B]],
    ?assertNotEqual(NodeA, NodeB),
    [Client] = [Row || #{<<"remote">> := Remote} = Row <- groups([FileA]), Remote =:= Number],
    ?assertMatch(#{<<"answered">> := Number, <<"server_unseen">> := Number, <<"mailbox_wait">> := undefined}, Client),
    Server = row(<<"remote_server">>, groups([FileB])),
    %% The one that has a wait is the question how many there were.
    ?assertMatch(#{<<"answered">> := 1, <<"split">> := #{<<"requests">> := 1}}, Server),
    #{<<"requests">> := AtServer, <<"remote">> := Number, <<"client_unseen">> := Number} = Server,
    [begin
        Joined = row(<<"remote_server">>, groups(Files)),
        ?assertMatch(#{<<"joined">> := Number, <<"answered">> := _, <<"requests">> := AtServer}, Joined),
        ?assertMatch(#{<<"client_unseen">> := 0, <<"server_unseen">> := 0}, Joined),
        #{<<"client_wait">> := #{<<"p50_ns">> := Wait}, <<"on_the_way">> := #{<<"p50_ns">> := Way}} = Joined,
        ?assert(Way =< Wait)
     end || Files <- [[FileA, FileB], [FileB, FileA]]].

%% A ring of the smallest size, gone round: what is left is halves and wholes, each
%% with one end, and no time of what is lost.
what_was_overwritten_is_never_timed(Config) ->
    {ok, #{path := Path} = Session} = spoor:start(requests, #{dir => ?config(dir, Config), ring => <<"1MiB">>}),
    Start = erlang:monotonic_time(nanosecond),
    _ = at_once(4, fun() -> [done = gen_server:call(?SERVER_NAME, {work, 0}) || _ <- lists:seq(1, 20_000)] end),
    Passed = erlang:monotonic_time(nanosecond) - Start,
    {ok, #{overwritten := Overwritten}} = spoor:stop(Session),
    ?assert(Overwritten > 0),
    #{<<"client_wait">> := #{<<"max_ns">> := Max}} = Row = row(<<"spoor_requests_server">>, groups([Path])),
    ?assert(Max < Passed),
    Ends = [<<"answered">>, <<"timed_out">>, <<"server_died">>, <<"no_server">>, <<"client_unseen">>, <<"unanswered">>],
    ?assertEqual(maps:get(<<"requests">>, Row), lists:sum([maps:get(End, Row) || End <- Ends])),
    ?assert(maps:get(<<"requests">>, Row) < 80_000),
    ?assertEqual(0, maps:get(<<"timed_out">>, Row) + maps:get(<<"server_died">>, Row)).

%%% In other VMs

start_server(Name) ->
    gen_server:start({local, Name}, ?MODULE, [], []).

record(Dir) ->
    {ok, _} = application:ensure_all_started(spoor),
    %% A recording ends with its owner, and whoever is called from another VM is gone soon.
    Self = self(),
    Owner = spawn(fun() ->
        Self ! {self(), spoor:start(requests, #{dir => Dir, ring => <<"2MiB">>})},
        receive stop -> ok end
    end),
    receive {Owner, Started} -> Started end.

ask(Server, Number) ->
    [done = gen_server:call(Server, {work, 1}) || _ <- lists:seq(1, Number)],
    ok.

seen_by_the_server(Name) ->
    gen_server:call(Name, count).

vm(_Config) ->
    Name = io_lib:format("spoor_~b_~b@127.0.0.1", [erlang:unique_integer([positive]), erlang:system_time()]),
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filename:pathtype(Path) =:= absolute]),
    Args = ["-name", lists:flatten(Name), "-setcookie", "spoor_requests" | Paths],
    peer:start_link(#{connection => standard_io, args => Args}).

%%% Helpers

dir(Config) -> ?config(dir, Config).

start(Config) ->
    spoor:start(requests, #{dir => ?config(dir, Config), ring => <<"2MiB">>}).

%% What is said of the server.
stop(Session) ->
    row(<<"spoor_requests_server">>, rows(Session, [])).

rows(Session, Args) ->
    {ok, #{path := Path}} = spoor:stop(Session),
    groups([Path | Args]).

groups(Args) ->
    #{<<"groups">> := Groups, <<"slowest">> := Slowest} = spoor_reading:json("requests", Args),
    [adds_up(Row) || #{<<"split">> := Row} <- Groups],
    [adds_up(Parts#{<<"client_wait_ns">> => Wait}) || #{<<"parts">> := #{} = Parts, <<"client_wait_ns">> := Wait} <- Slowest],
    Groups.

%% To the nanosecond.
adds_up(#{<<"client_wait_ns">> := Wait, <<"mailbox_wait_ns">> := Mailbox, <<"service_ns">> := Service, <<"delivery_ns">> := Delivery}) ->
    ?assertEqual(Wait, Mailbox + Service + Delivery).

row(Name, Rows) ->
    [Row] = [Row || #{<<"group">> := Group} = Row <- Rows, Group =:= Name],
    Row.

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
