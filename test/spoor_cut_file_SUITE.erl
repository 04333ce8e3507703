%% @doc Somebody truncates the file of a live recording. To touch what the file
%% no longer has is a SIGBUS: the recording ends and says why, the VM lives. It
%% is tried on a VM of its own, which may die.
-module(spoor_cut_file_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    cut_to_nothing/1,
    cut_to_half/1,
    cut_on_dirty_schedulers/1,
    cut_while_nothing_happens/1,
    the_others_go_on/1
]).
%% Runs on the other VM.
-export([record_and_cut/3, two_of_which_one_is_cut/2, work/1, loop/0]).

-define(MIB, (1024 * 1024)).
-define(REASON, <<"the file was cut short while it was recorded into">>).

all() ->
    [cut_to_nothing, cut_to_half, cut_on_dirty_schedulers, cut_while_nothing_happens, the_others_go_on].

init_per_testcase(Case, Config) ->
    [{dir, filename:join(?config(priv_dir, Config), Case)} | Config].

end_per_testcase(_Case, _Config) -> ok.

%%% Cases

cut_to_nothing(Config) -> cut_while(load, 0, Config).

cut_to_half(Config) -> cut_while(load, ?MIB div 2, Config).

cut_on_dirty_schedulers(Config) -> cut_while(dirty, 0, Config).

cut_while_nothing_happens(Config) -> cut_while(nothing, 0, Config).

the_others_go_on(Config) ->
    on_another_vm(fun(Vm) ->
        {Cut, Whole} = peer:call(Vm, ?MODULE, two_of_which_one_is_cut, [can_trace_twice(), dir(Config)], 60_000),
        ?assertMatch(#{stop_reason := ?REASON}, Cut),
        ?assertMatch(#{stop_reason := <<"stopped">>, lost := 0}, Whole)
    end).

%% The recording says why it ended; another one can be made, and read, after it.
cut_while(What, Bytes, Config) ->
    on_another_vm(fun(Vm) ->
        #{status := Status, leftovers := Leftovers, next := Next, size := Size} =
            peer:call(Vm, ?MODULE, record_and_cut, [What, Bytes, dir(Config)], 60_000),
        ?assertMatch(#{phase := stopped, stop_reason := ?REASON}, Status),
        #{text := Text} = Status,
        ?assertMatch({_, _}, binary:match(Text, ?REASON)),
        ?assertEqual(nomatch, binary:match(Text, <<"overwritten">>)),
        ?assertEqual([], Leftovers),
        ?assertMatch({ok, #{stop_reason := <<"stopped">>, lost := 0, events := Events}} when Events > 1000, Next),
        ?assertEqual(Bytes, Size)
    end).

%%% On the other VM

record_and_cut(What, Bytes, Dir) ->
    {ok, _} = application:ensure_all_started(spoor),
    Loops = [spawn(fun() -> busy(What) end) || _ <- lists:seq(1, 4)],
    {ok, #{path := Path} = Session} = start(Dir, preset(What)),
    timer:sleep(100),
    ok = truncate(Path, Bytes),
    ok = spoor_leftovers:eventually(fun() -> is_over(Session) end),
    Status = spoor:status(Session),
    Leftovers = [P || P <- processes(), {spoor_tracer, _} <- [spoor_tracing:tracer_of(P)]],
    [exit(Loop, kill) || Loop <- Loops],
    {ok, Next} = start(Dir, []),
    ok = work(1000),
    Ended = spoor:stop(Next),
    #{status => Status, leftovers => Leftovers, next => Ended, size => filelib:file_size(Path)}.

two_of_which_one_is_cut(Twice, Dir) ->
    {ok, _} = application:ensure_all_started(spoor),
    {ok, #{path := Path} = Session} = start(Dir, []),
    {ok, Other} = case Twice of
        true -> start(Dir, []);
        false -> spoor:open(#{dir => Dir, ring => ?MIB})
    end,
    ok = truncate(Path, 0),
    ok = spoor_leftovers:eventually(fun() -> work(10), is_over(Session) end),
    ok = work(100),
    Cut = spoor:status(Session),
    {ok, Whole} = spoor:stop(Other),
    {Cut, Whole}.

is_over(Session) ->
    case spoor:status(Session) of
        #{phase := stopped} -> true;
        _ -> false
    end.

start(Dir, Presets) ->
    spoor:start([?MODULE | Presets], #{dir => Dir, ring => ?MIB, procs => all, link => false}).

preset(dirty) -> [gc];
preset(_) -> [].

busy(load) -> loop();
busy(dirty) -> collect();
busy(nothing) -> receive after infinity -> ok end.

loop() ->
    ok = work(100),
    ?MODULE:loop().

%% The collection of a large heap moves to a dirty scheduler.
collect() ->
    Much = lists:seq(1, 300_000),
    true = erlang:garbage_collect(),
    300_000 = length(Much),
    collect().

work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

truncate(Path, Bytes) ->
    {ok, File} = file:open(Path, [read, write, raw]),
    {ok, Bytes} = file:position(File, Bytes),
    ok = file:truncate(File),
    file:close(File).

%%% The other VM

on_another_vm(Fun) ->
    Paths = lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)]),
    {ok, Vm, _} = peer:start_link(#{connection => standard_io, args => Paths}),
    try Fun(Vm)
    after peer:stop(Vm)
    end.

can_trace_twice() -> spoor_leftovers:is_session_vm().

dir(Config) -> unicode:characters_to_binary(?config(dir, Config)).
