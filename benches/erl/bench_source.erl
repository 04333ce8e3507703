%% @doc A recording of ordinary work, for the analyzer to read; and what fprof and
%% eprof take for the same.
-module(bench_source).

-export([main/0]).

-define(MODULES, [?MODULE, bench_server, gen, gen_server, gb_trees, lists, maps, orddict, proplists, string]).

%% Arguments: `record calls|full|storm FILE ROUNDS', `record-one FILE ROUNDS' or `profile ROUNDS'.
-spec main() -> no_return().
main() ->
    case init:get_plain_arguments() of
        ["record", Mode, File, Rounds] -> record(Mode, File, list_to_integer(Rounds));
        ["record-one", File, Rounds] -> record("one", File, list_to_integer(Rounds));
        ["profile", Rounds] -> profile(list_to_integer(Rounds))
    end,
    halt().

record(Mode, File, Rounds) ->
    Dir = filename:dirname(File),
    Variant = bench_variants:open(spoor_disk, #{disk => Dir, shm => Dir, ring => ring_bytes()}),
    lists:foreach(fun code:ensure_loaded/1, ?MODULES),
    lists:foreach(fun(Module) -> erlang:trace_pattern({Module, '_', '_'}, true, [local]) end, ?MODULES),
    {ok, Server} = bench_server:start(),
    bench_variants:trace(Variant, Server, flags(Mode)),
    Trace = fun(Pid) -> bench_variants:trace(Variant, Pid, flags(Mode)) end,
    {Took, _} = timer:tc(fun() ->
        case Mode of
            "storm" -> storm(Server, Rounds, Trace);
            "one" -> clients(1, Server, Rounds, Trace);
            _ -> clients(40, Server, Rounds, Trace)
        end
    end),
    {file, Path, Summary} = bench_variants:close(Variant),
    ok = file:rename(Path, File),
    case Mode of
        "one" -> io:format("~b~n", [Took]);
        _ -> io:format("~p~n", [maps:with([events, dropped, overwritten], Summary)])
    end.

%% A storm makes new processes all the time: a long recording of it cannot be made of laps.
ring_bytes() -> list_to_integer(os:getenv("SPOOR_RING_BYTES", integer_to_list(256 * 1024 * 1024))).

flags("one") -> flags("calls");
flags("calls") -> [call, return_to, arity, procs];
flags("full") -> flags("calls") ++ [running, garbage_collection, send, 'receive'];
flags("storm") -> [set_on_spawn | flags("full")].

%% Prints how long each took for one client: with tracing on, and then to analyse it.
profile(Rounds) ->
    {ok, Server} = bench_server:start(),
    Work = fun() -> client(Server, Rounds) end,
    {Traced, _} = timer:tc(fun() -> fprof:apply(Work, [], [{file, "fprof.trace"}]) end),
    {Profiled, _} = timer:tc(fun() -> fprof:profile([{file, "fprof.trace"}]) end),
    {Analysed, _} = timer:tc(fun() -> fprof:analyse([{dest, "fprof.analysis"}]) end),
    io:format("fprof\t~b\t~b\t~b~n", [Traced, Profiled + Analysed, filelib:file_size("fprof.trace")]),
    {Counted, _} = timer:tc(fun() -> eprof:profile(Work) end),
    {Told, _} = timer:tc(fun() -> eprof:log("eprof.analysis"), eprof:analyze() end),
    io:format("eprof\t~b\t~b\t0~n", [Counted, Told]).

clients(Count, Server, Rounds, Trace) ->
    Clients = [
        spawn_monitor(fun() ->
            receive
                go -> client(Server, Rounds)
            end
        end)
     || _ <- lists:seq(1, Count)
    ],
    lists:foreach(fun({Pid, _}) -> Trace(Pid), Pid ! go end, Clients),
    lists:foreach(fun({_, Monitor}) -> receive {'DOWN', Monitor, _, _, normal} -> ok end end, Clients).

%% A thousand processes in each round: each asks the server once, and exits.
storm(Server, Rounds, Trace) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        receive
            go -> lists:foreach(fun(_) -> wave(Server) end, lists:seq(1, Rounds))
        end
    end),
    Trace(Pid),
    Pid ! go,
    receive {'DOWN', Monitor, _, _, normal} -> ok end.

wave(Server) ->
    Children = [spawn_monitor(fun() -> child(Server, N) end) || N <- lists:seq(1, 1000)],
    lists:foreach(fun({_, Monitor}) -> receive {'DOWN', Monitor, _, _, normal} -> ok end end, Children).

child(Server, N) ->
    pong = gen_server:call(Server, ping, infinity),
    fib(N rem 5).

client(_, 0) ->
    ok;
client(Server, Round) ->
    Words = string:lexemes("the quick brown fox jumps over the lazy dog again and again", " "),
    Counted = lists:foldl(fun(Word, Dict) -> orddict:update_counter(Word, 1, Dict) end, orddict:new(), Words),
    Tree = gb_trees:balance(lists:foldl(fun(N, Tree) -> gb_trees:enter(N * Round rem 97, N, Tree) end, gb_trees:empty(), lists:seq(1, 30))),
    Sorted = lists:usort(gb_trees:keys(Tree) ++ [length(Word) || Word <- Words]),
    _ = maps:map(fun(_, Value) -> fib(Value rem 8) end, maps:from_list(lists:zip(Sorted, Sorted))),
    _ = [string:trim("  " ++ Word ++ "  ") || {Word, _} <- Counted],
    _ = gen_server:call(Server, ping),
    client(Server, Round - 1).

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).
