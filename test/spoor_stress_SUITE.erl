%% @doc Recordings begin, are copied and end, over and over, on a VM that is busy
%% on more schedulers than the machine has cores, dirty ones among them. It lives,
%% it keeps nothing, and whatever was recorded can be read.
%%
%%   SPOOR_STRESS_SECONDS=300   how long, else twenty seconds
-module(spoor_stress_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([begun_and_ended_under_load/1]).
-export([victim/0]).

-define(SECONDS, 20).
%% What a VM at work may hold more at the end than after its first recordings.
-define(MAX_GROWTH_KIB, 8 * 1024).

all() -> [begun_and_ended_under_load].

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    [{dir, Dir} | Config].

end_per_testcase(_Case, _Config) -> ok.

begun_and_ended_under_load(Config) ->
    Dir = ?config(dir, Config),
    Seconds = list_to_integer(os:getenv("SPOOR_STRESS_SECONDS", integer_to_list(?SECONDS))),
    #{rounds := Rounds, events := Events, snapshots := Snapshots} = Facts = stressed(Dir, Seconds),
    ct:pal("~p", [Facts]),
    %% With so many threads on few cores the VM itself needs a second for each pattern.
    ?assert(Rounds > 2),
    ?assert(Events > 1000 * Rounds),
    ?assert(Snapshots > 0),
    #{mappings := Mappings, threads_before := Threads, threads_after := ThreadsAfter} = Facts,
    ?assertEqual(0, Mappings),
    ?assertEqual(Threads, ThreadsAfter),
    #{kib_before := Before, kib_after := After} = Facts,
    ?assert(After - Before < ?MAX_GROWTH_KIB, {Before, After}),
    Files = filelib:wildcard(filename:join(Dir, "*.spoor")),
    ?assertEqual(2, length(Files)),
    [?assertMatch({File, {0, _}}, {File, spoor_reading:run("calls", [File])}) || File <- Files].

%% What the other VM says of itself at the end.
stressed(Dir, Seconds) ->
    Paths = [filename:dirname(code:which(M)) || M <- [?MODULE, spoor]],
    Schedulers = ["+S", "16:16", "+SDcpu", "16:16", "+SDio", "8"],
    Args = ["-noinput" | Schedulers] ++ ["-pa" | Paths] ++ ["-s", ?MODULE_STRING, "victim"],
    Environment = [{"SPOOR_DIR", Dir}, {"SPOOR_STRESS_SECONDS", integer_to_list(Seconds)}],
    Port = open_port({spawn_executable, os:find_executable("erl")}, [
        {args, Args}, {env, Environment}, {line, 10_000}, exit_status, hide
    ]),
    facts(Port, (Seconds + 120) * 1000, none).

facts(Port, Timeout, Facts) ->
    receive
        {Port, {data, {eol, "facts " ++ Text}}} ->
            {ok, Tokens, _} = erl_scan:string(Text ++ "."),
            {ok, Term} = erl_parse:parse_term(Tokens),
            facts(Port, Timeout, Term);
        {Port, {data, {_, Line}}} ->
            ct:pal("~ts", [Line]),
            facts(Port, Timeout, Facts);
        {Port, {exit_status, 0}} ->
            Facts;
        {Port, {exit_status, Status}} ->
            error({the_vm_ended, Status})
    after Timeout -> error(the_vm_hangs)
    end.

%% ---- In the VM under stress ------------------------------------------------------

%% @doc Works on all its schedulers and records itself, then says what it saw.
victim() ->
    Dir = os:getenv("SPOOR_DIR"),
    Seconds = list_to_integer(os:getenv("SPOOR_STRESS_SECONDS")),
    {ok, _} = application:ensure_all_started(spoor),
    %% What the VM and the library take once, they take in these.
    _ = stressed_rounds(Dir, 2),
    Before = measured(),
    Seen = stressed_rounds(Dir, Seconds),
    After = measured(),
    Facts = Seen#{
        mappings => length(binary:matches(read("/proc/self/maps"), <<".spoor">>)),
        threads_before => maps:get(threads, Before),
        threads_after => maps:get(threads, After),
        kib_before => maps:get(kib, Before),
        kib_after => maps:get(kib, After)
    },
    io:format("facts ~w~n", [Facts]),
    halt(0).

stressed_rounds(Dir, Seconds) ->
    Work = [fun() -> work_forever(Kind) end || Kind <- spoor_workload:all() -- [spawn_storm]],
    Collect = fun() -> collect_forever([]) end,
    Workers = [spawn_monitor(F) || F <- [Collect | Work]],
    Deadline = erlang:monotonic_time(millisecond) + 1000 * Seconds,
    Seen = rounds(Dir, Deadline, none()),
    [true = exit(Pid, kill) || {Pid, _} <- Workers],
    [
        receive
            {'DOWN', Monitor, process, _, Why} -> killed = Why
        end
     || {_, Monitor} <- Workers
    ],
    Seen.

none() -> #{rounds => 0, events => 0, snapshots => 0}.

work_forever(Kind) ->
    ok = spoor_workload:run(Kind),
    work_forever(Kind).

%% A heap so large that it is collected on a dirty scheduler.
collect_forever(Kept) ->
    Heap = [lists:seq(1, 200_000) | lists:sublist(Kept, 3)],
    true = erlang:garbage_collect(),
    collect_forever(Heap).

rounds(Dir, Deadline, #{rounds := Rounds, events := Events, snapshots := Snapshots} = Seen) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        false ->
            Seen;
        true ->
            %% Only the last round's files are kept.
            [ok = file:delete(File) || File <- filelib:wildcard(filename:join(Dir, "*.spoor"))],
            Options = #{dir => Dir, ring => <<"2MiB">>, link => false, force => spoor_leftovers:is_session_vm()},
            {ok, Session} = spoor:start(what(Rounds), Options),
            timer:sleep(rand:uniform(100)),
            {ok, _} = spoor:snapshot(Session, #{}),
            timer:sleep(rand:uniform(20)),
            {ok, #{events := More}} = spoor:stop(Session),
            rounds(Dir, Deadline, Seen#{
                rounds := Rounds + 1, events := Events + More, snapshots := Snapshots + 1
            })
    end.

%% Everything in turn, where the release allows it under load.
what(Round) ->
    case spoor_leftovers:is_session_vm() of
        true -> lists:nth(1 + Round rem 4, [full, scheduling, messages, spoor_workload]);
        false -> spoor_workload
    end.

%% Threads and memory of the VM at rest.
measured() ->
    timer:sleep(500),
    [true = erlang:garbage_collect(Pid) || Pid <- processes()],
    Text = read("/proc/self/status"),
    #{threads => number("Threads:\\s+(\\d+)", Text), kib => number("VmRSS:\\s+(\\d+)", Text)}.

number(Pattern, Text) ->
    {match, [Digits]} = re:run(Text, Pattern, [{capture, all_but_first, list}]),
    list_to_integer(Digits).

read(Path) ->
    {ok, Bytes} = file:read_file(Path),
    Bytes.
