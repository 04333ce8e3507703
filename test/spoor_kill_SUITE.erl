%% @doc Nothing that was committed is lost when the VM is killed.
%%
%% A second VM runs two workers under full load on two schedulers, each calling
%% a recorded function and then publishing how often it did, by a write to a file
%% of its own: whatever number stands there, so many calls were recorded before.
%% The VM is killed at a random moment, over and over; each time the recording
%% must hold at least the published calls, in an undamaged file.
-module(spoor_kill_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1]).
-export([nothing_committed_is_lost_at_sigkill/1]).
-export([victim/0, tick/1]).

%% On the machine's own OTP; on others, in trees, a part of it. Both can be told.
-define(KILLS, 200).
-define(KILLS_IN_TREE, 40).
%% Calls between two publications: most kills fall between a call and its neighbour.
-define(BURST, 64).

all() -> [nothing_committed_is_lost_at_sigkill].

init_per_suite(Config) -> Config.
end_per_suite(_Config) -> ok.

kills() ->
    case {os:getenv("SPOOR_KILLS", ""), os:getenv("SPOOR_OTP_TREE", "")} of
        {"", ""} -> ?KILLS;
        {"", _} -> ?KILLS_IN_TREE;
        {Number, _} -> list_to_integer(Number)
    end.

nothing_committed_is_lost_at_sigkill(Config) ->
    Dir = filename:join(?config(priv_dir, Config), "kills"),
    Results = [kill_one(Dir, N) || N <- lists:seq(1, kills())],
    Published = [P || {P, _} <- Results],
    ct:pal("~b kills; ~b calls published, ~b recorded; fewest published before a kill ~b", [
        length(Results), lists:sum(Published), lists:sum([R || {_, R} <- Results]), lists:min(Published)
    ]),
    ?assertEqual([], [Result || {P, R} = Result <- Results, R < P]),
    %% Most victims were killed while at work.
    ?assert(length([P || P <- Published, P > ?BURST]) > length(Results) * 9 div 10).

%% Published and recorded calls of one victim.
kill_one(Dir, N) ->
    VictimDir = filename:join(Dir, integer_to_list(N)),
    ok = filelib:ensure_dir(filename:join(VictimDir, "x")),
    Port = start_victim(VictimDir),
    OsPid = receive_line(Port),
    timer:sleep(rand:uniform(250)),
    "" = os:cmd("kill -9 " ++ OsPid),
    receive
        {Port, {exit_status, Status}} -> ?assertEqual(128 + 9, Status)
    end,
    [Recording] = filelib:wildcard(filename:join(VictimDir, "*.spoor")),
    {Status1, _} = spoor_reading:run("info", [Recording]),
    ?assertEqual({N, 0}, {N, Status1}),
    Recorded = [Count || {{?MODULE, tick, 1}, Count} <- spoor_reading:counts(Recording)],
    Published = lists:sum([published(VictimDir, W) || W <- [1, 2]]),
    ok = file:del_dir_r(VictimDir),
    {Published, lists:sum(Recorded)}.

start_victim(Dir) ->
    Erl = os:find_executable("erl"),
    Paths = [filename:dirname(code:which(M)) || M <- [?MODULE, spoor]],
    Args = ["-noinput", "+S", "2:2", "-pa" | Paths] ++ ["-s", ?MODULE_STRING, "victim"],
    open_port({spawn_executable, Erl}, [
        {args, Args}, {env, [{"SPOOR_DIR", Dir}]}, {line, 1000}, exit_status, hide
    ]).

receive_line(Port) ->
    receive
        {Port, {data, {eol, Line}}} -> Line
    after 30_000 -> error(victim_does_not_start)
    end.

published(Dir, Worker) ->
    case file:read_file(counter(Dir, Worker)) of
        {ok, <<Number:64>>} -> Number;
        {ok, <<>>} -> 0;
        {error, enoent} -> 0
    end.

counter(Dir, Worker) -> filename:join(Dir, "published-" ++ integer_to_list(Worker)).

%% ---- In the VM that is killed --------------------------------------------------

%% @doc Records two workers for as long as it lives.
victim() ->
    Dir = os:getenv("SPOOR_DIR"),
    {ok, _} = spoor:start(?MODULE, #{ring => <<"64MiB">>, time => infinity, link => false, procs => new}),
    [spawn_link(fun() -> work(Dir, Worker) end) || Worker <- [1, 2]],
    io:format("~s~n", [os:getpid()]),
    timer:sleep(60_000),
    halt(1).

work(Dir, Worker) ->
    {ok, Device} = file:open(counter(Dir, Worker), [write, raw, binary]),
    work(Device, 0, ?BURST).

work(Device, Done, 0) ->
    ok = file:pwrite(Device, 0, <<Done:64>>),
    work(Device, Done, ?BURST);
work(Device, Done, Left) ->
    tick(Done),
    work(Device, Done + 1, Left - 1).

tick(N) -> N.
