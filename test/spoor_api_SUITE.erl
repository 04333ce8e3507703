%% @doc What a user of spoor:start/2 and its companions is promised.
-module(spoor_api_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    calls_are_counted_exactly/1,
    private_functions_are_recorded/1,
    registered_names_are_looked_up/1,
    spawned_processes_are_traced_unless_told_not_to/1,
    new_processes_only/1,
    existing_processes_only/1,
    garbage_collections_are_recorded/1,
    messages_are_recorded/1,
    scheduling_follows_the_release/1,
    full_records_a_process/1,
    full_records_everything_when_forced/1,
    presets_and_patterns_together/1,
    arguments_stay_out_unless_asked_for/1,
    patterns_that_match_nothing_leave_no_file/1,
    a_process_that_is_not_there_is_an_error/1,
    status_says_what_is_asked_for_and_what_came/1,
    open_records_what_others_trace/1,
    stopping_an_open_recording_turns_its_tracer_off/1,
    the_file_is_for_its_owner_only/1,
    the_directory_is_found_in_order/1,
    processes_that_lived_before_have_names/1,
    names_given_later_reach_the_file/1,
    our_own_processes_are_never_traced/1,
    a_summary_is_kept_for_later/1,
    one_process_is_a_list_of_one/1,
    what_is_no_session_is_told/1,
    a_file_that_is_gone_is_not_recommended/1,
    what_does_not_fit_shows_its_beginning/1,
    stop_ends_all/1
]).
-export([without_the_library_the_node_boots/1]).
-export([secret/1, given/1]).

-import(spoor_servant, [work/1, idler/0, tell/2, tell/3, start/3, start/4, stop/1, files/1]).

-define(SECRET, <<"correct horse battery staple">>).

all() ->
    [
        calls_are_counted_exactly, private_functions_are_recorded, registered_names_are_looked_up,
        spawned_processes_are_traced_unless_told_not_to, new_processes_only, existing_processes_only,
        garbage_collections_are_recorded, messages_are_recorded, scheduling_follows_the_release,
        full_records_a_process, full_records_everything_when_forced, presets_and_patterns_together,
        arguments_stay_out_unless_asked_for, patterns_that_match_nothing_leave_no_file,
        a_process_that_is_not_there_is_an_error, status_says_what_is_asked_for_and_what_came,
        open_records_what_others_trace, stopping_an_open_recording_turns_its_tracer_off,
        the_file_is_for_its_owner_only, the_directory_is_found_in_order, processes_that_lived_before_have_names,
        names_given_later_reach_the_file, our_own_processes_are_never_traced, one_process_is_a_list_of_one,
        what_is_no_session_is_told, a_file_that_is_gone_is_not_recommended,
        what_does_not_fit_shows_its_beginning, a_summary_is_kept_for_later, stop_ends_all,
        without_the_library_the_node_boots
    ].

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_servant:nothing_recorded().

%%% Work to record

private(0) -> 0;
private(N) -> N + private(N - 1).

given(_Term) -> ok.

secret(Secret) -> byte_size(Secret).

%%% Cases

calls_are_counted_exactly(Config) ->
    {ok, #{functions := 1, processes := 1} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    ok = work(1000),
    %% 1001 calls; the return at the end.
    ?assertMatch(#{events := 1002, lost := 0, stop_reason := <<"stopped">>}, stop(Session)).

private_functions_are_recorded(Config) ->
    {ok, Session} = start({?MODULE, private, 1}, [self()], Config),
    10 = private(4),
    %% Five calls, and a return from each: the calls are no tail calls.
    ?assertMatch(#{events := 10}, stop(Session)).

registered_names_are_looked_up(Config) ->
    Idler = idler(),
    true = register(spoor_api_idler, Idler),
    {ok, #{processes := 1} = Session} = start({spoor_servant, work, 1}, [spoor_api_idler], Config),
    ok = tell(Idler, work, 10),
    ok = work(10),
    ?assertMatch(#{events := 12}, stop(Session)),
    Idler ! stop.

spawned_processes_are_traced_unless_told_not_to(Config) ->
    Idler = idler(),
    Events = [
        begin
            {ok, Session} = start({spoor_servant, work, 1}, [Idler], Config, #{set_on_spawn => SetOnSpawn}),
            ok = tell(Idler, spawn_work, 100),
            maps:get(events, stop(Session))
        end
     || SetOnSpawn <- [true, false]
    ],
    [Inherited, Alone] = Events,
    ?assert(Inherited > 100),
    ?assert(Alone < 10),
    Idler ! stop.

new_processes_only(Config) ->
    Idler = idler(),
    {ok, #{processes := 0} = Session} = start({spoor_servant, work, 1}, new, Config),
    ok = tell(Idler, work, 1000),
    #{events := Before} = spoor:status(Session),
    Young = idler(),
    ok = tell(Young, work, 1000),
    #{events := After} = stop(Session),
    ?assert(Before < 500),
    ?assert(After >= Before + 1001),
    [Pid ! stop || Pid <- [Idler, Young]].

existing_processes_only(Config) ->
    Idler = idler(),
    {ok, #{processes := Processes} = Session} =
        start({spoor_servant, work, 1}, existing, Config, #{set_on_spawn => false}),
    ?assert(Processes > 10),
    Young = idler(),
    #{events := Before} = spoor:status(Session),
    ok = tell(Young, work, 1000),
    #{events := Between} = spoor:status(Session),
    ok = tell(Idler, work, 1000),
    #{events := After} = stop(Session),
    ?assert(Between < Before + 500),
    ?assert(After >= Between + 1001),
    [Pid ! stop || Pid <- [Idler, Young]].

garbage_collections_are_recorded(Config) ->
    Idler = idler(),
    {ok, Session} = start(gc, [Idler], Config),
    [ok = tell(Idler, {self(), collect}) || _ <- lists:seq(1, 10)],
    #{events := Events, next := Next} = stop(Session),
    ?assert(Events >= 20),
    ?assertMatch(<<"spoor info ", _/binary>>, Next),
    Idler ! stop.

messages_are_recorded(Config) ->
    Idler = idler(),
    {ok, Session} = start(messages, [Idler], Config),
    [ok = tell(Idler, work, 1) || _ <- lists:seq(1, 10)],
    %% A receive and a send each time.
    ?assertMatch(#{events := 20}, stop(Session)),
    {ok, All} = start(messages, all, Config),
    [ok = tell(Idler, work, 1) || _ <- lists:seq(1, 10)],
    #{events := Events} = stop(All),
    ?assert(Events >= 40),
    Idler ! stop.

scheduling_follows_the_release(Config) ->
    Idler = idler(),
    case spoor_hazard:check(plan(scheduling), spoor_hazard:this_vm()) of
        {ok, []} ->
            {ok, Session} = start(scheduling, all, Config),
            [ok = tell(Idler, work, 1) || _ <- lists:seq(1, 10)],
            #{events := Events, next := Next} = stop(Session),
            ?assert(Events >= 20),
            ?assertMatch(<<"spoor sched ", _/binary>>, Next);
        {error, {unsafe_on_otp, Reference}} ->
            [
                ?assertEqual({error, {unsafe_on_otp, Reference}}, start(scheduling, Procs, Config))
             || Procs <- [all, new, existing, [Idler]]
            ],
            ?assertMatch(
                {error, {unsafe_on_otp, _}}, start(?MODULE, [Idler], Config, #{running => true})
            ),
            ?assertEqual([], files(Config))
    end,
    %% Of a process that uses no dirty scheduler, by force: every in has its out.
    {ok, Forced} = start(scheduling, [Idler], Config, #{force => true}),
    [ok = tell(Idler, work, 1) || _ <- lists:seq(1, 10)],
    spoor_leftovers:eventually(fun() -> maps:get(events, spoor:status(Forced)) >= 20 end),
    #{events := InsAndOuts} = stop(Forced),
    ?assertEqual(0, InsAndOuts rem 2),
    Idler ! stop.

full_records_a_process(Config) ->
    Idler = idler(),
    ?assertMatch({error, {too_broad, _}}, start(full, all, Config)),
    {ok, Session} = start([full, {spoor_servant, work, 1}], [Idler], Config, #{force => true}),
    ok = tell(Idler, work, 100),
    ok = tell(Idler, {self(), collect}),
    #{events := Events, presets := Presets} = stop(Session),
    ?assert(Events > 110),
    ?assertEqual([calls, full], Presets),
    Idler ! stop.

%% On a release where it crashes the VM it is refused, and not forced here.
full_records_everything_when_forced(Config) ->
    case spoor_hazard:check(plan(scheduling), spoor_hazard:this_vm()) of
        {ok, []} ->
            {ok, #{path := Path} = Session} = start(full, all, Config, #{force => true, ring => <<"8MiB">>}),
            "hello\n" = os:cmd("echo hello"),
            #{events := Events} = stop(Session),
            ?assert(Events > 30),
            spoor_leftovers:assert_none(Path);
        {error, _} ->
            ?assertMatch({error, {unsafe_on_otp, _}}, start(full, new, Config))
    end.

presets_and_patterns_together(Config) ->
    Idler = idler(),
    {ok, #{functions := 1} = Session} = start([messages, {spoor_servant, work, 1}], [Idler], Config),
    ok = tell(Idler, work, 10),
    %% 11 calls, a return, a receive, a send.
    ?assertMatch(#{events := 14, what := <<"messages, spoor_servant:work/1">>}, stop(Session)),
    Idler ! stop.

arguments_stay_out_unless_asked_for(Config) ->
    Idler = idler(),
    Recorded = fun(Options) ->
        {ok, Session} = start([{?MODULE, secret, 1}, messages], [self(), Idler], Config, Options),
        28 = secret(?SECRET),
        Idler ! {secret, ?SECRET},
        ok = tell(Idler, work, 1),
        #{path := Path} = stop(Session),
        {ok, Bytes} = file:read_file(Path),
        Bytes
    end,
    ?assertEqual(nomatch, binary:match(Recorded(#{}), ?SECRET)),
    ?assertEqual(nomatch, binary:match(Recorded(#{args => none}), ?SECRET)),
    ?assertMatch([_, _ | _], binary:matches(Recorded(#{args => full}), ?SECRET)),
    Idler ! stop.

patterns_that_match_nothing_leave_no_file(Config) ->
    [
        ?assertEqual({error, {no_match, Pattern}}, start([lists, What], [self()], Config))
     || {What, Pattern} <- [
            {{?MODULE, nosuch}, {?MODULE, nosuch, '_'}},
            {{spoor_servant, work, 9}, {spoor_servant, work, 9}},
            {spoor_nosuch, {spoor_nosuch, '_', '_'}}
        ]
    ],
    ?assertEqual([], files(Config)),
    spoor_leftovers:assert_untraced([{lists, map, 2}]).

one_process_is_a_list_of_one(Config) ->
    [
        begin
            {ok, Session} = start({spoor_servant, work, 1}, Procs, Config),
            ?assertMatch(#{processes := 1, procs := [Procs]}, spoor:status(Session)),
            {ok, _} = spoor:stop(Session)
        end
     || Procs <- [self(), code_server]
    ],
    ?assertEqual({error, {no_process, nobody}}, start(?MODULE, nobody, Config)),
    ?assertMatch({error, {bad_option, {procs, _}}}, start(?MODULE, true, Config)).

what_is_no_session_is_told(_Config) ->
    [
        begin
            ?assertEqual({error, {bad_session, Nonsense}}, Call(Nonsense)),
            ?assertNotEqual(nomatch, string:find(spoor:format_error({bad_session, Nonsense}), "spoor:start/2"))
        end
     || Call <- [fun spoor:stop/1, fun spoor:status/1, fun(Session) -> spoor:snapshot(Session, #{}) end],
        Nonsense <- [x, 1, self(), #{}, {ok, #{id => 1}}, #{id => 1, pid => x}]
    ].

%% Nor is it kept from who asks meanwhile.
a_file_that_is_gone_is_not_recommended(Config) ->
    [
        begin
            Options = Mode#{dir => ?config(dir, Config), procs => [self()]},
            {ok, #{path := Path} = Session} = spoor:start({spoor_servant, work, 1}, Options),
            Gone = <<"Its file is gone: ", Path/binary>>,
            #{warnings := Before} = spoor:status(Session),
            ok = Remove(Path),
            ?assertMatch(#{warnings := [Gone | Before]}, spoor:status(Session)),
            {ok, #{next := <<>>, text := Text}} = spoor:stop(Session),
            ?assertEqual(nomatch, string:find(Text, "Next")),
            ?assertNotEqual(nomatch, string:find(Text, Gone))
        end
     || {Mode, Remove} <- [
            {#{}, fun file:delete/1},
            {#{stream => true}, fun(Path) -> file:delete(filename:join(Path, "head.spoor")) end},
            {#{stream => true}, fun file:del_dir_r/1}
        ]
    ].

%% As much of a text, a list as fits, and that there was more.
what_does_not_fit_shows_its_beginning(Config) ->
    Options = #{args => full, max_term_bytes => 100, dir => ?config(dir, Config), procs => [self()]},
    {ok, Session} = spoor:start({?MODULE, given, 1}, Options),
    _ = [given(Term) || Term <- [binary:copy(<<"ab">>, 1000), lists:seq(1, 1000), lists:seq(1, 90)]],
    {ok, #{path := Path}} = spoor:stop(Session),
    {0, Text} = spoor_reading:run("dump", [Path]),
    ?assertMatch({match, _}, re:run(Text, "<<\"(ab)+a?\"… of 2000 bytes>>", [unicode])),
    ?assertMatch({match, [_, _]}, re:run(Text, "\\[1,2,3,4,[0-9,]+…\\]", [unicode, global])).

a_process_that_is_not_there_is_an_error(Config) ->
    {Dead, Monitor} = spawn_monitor(fun() -> ok end),
    receive
        {'DOWN', Monitor, _, _, _} -> ok
    end,
    ?assertEqual({error, {no_process, Dead}}, start(?MODULE, [self(), Dead], Config)),
    ?assertEqual({error, {no_process, nobody}}, start(?MODULE, [nobody], Config)),
    ?assertEqual([], files(Config)).

status_says_what_is_asked_for_and_what_came(Config) ->
    ?assertEqual([], spoor:status()),
    {ok, #{path := Path} = Session} =
        start({spoor_servant, work}, [self()], Config, #{label => "Friday", time => {1, minute}, max_events => 10000}),
    ok = work(10),
    Status = spoor:status(Session),
    ?assertMatch(
        #{
            path := Path, events := 12, lost := 0, overwritten := 0, dropped := #{}, trace := on, time := 60000,
            max_events := 10000, label := <<"Friday">>, what := <<"spoor_servant:work">>, presets := [calls],
            functions := 1, processes := 1, phase := recording, warnings := []
        },
        Status
    ),
    ?assertMatch([#{path := Path}], spoor:status()),
    {ok, Bytes} = file:read_file(Path),
    [?assertMatch({_, _}, binary:match(Bytes, Text)) || Text <- [<<"Friday">>, <<"process_limit">>, <<"boot_time">>]],
    Summary = stop(Session),
    ?assertEqual(Summary, spoor:status(Session)).

open_records_what_others_trace(Config) ->
    {ok, #{functions := 0} = Session} = spoor:open(#{dir => ?config(dir, Config)}),
    {spoor_tracer, State} = spoor:tracer(Session),
    1 = erlang:trace(self(), true, [call, arity, {tracer, spoor_tracer, State}]),
    1 = erlang:trace_pattern({spoor_servant, work, 1}, true, [local]),
    ok = work(10),
    1 = erlang:trace(self(), false, [all]),
    1 = erlang:trace_pattern({spoor_servant, work, 1}, false, [local]),
    ?assertMatch(#{events := 11}, stop(Session)).

stopping_an_open_recording_turns_its_tracer_off(Config) ->
    {ok, #{path := Path} = Session} = spoor:open(#{dir => ?config(dir, Config)}),
    {spoor_tracer, State} = Tracer = spoor:tracer(Session),
    _ = erlang:trace(new_processes, true, [procs, {tracer, spoor_tracer, State}]),
    _ = erlang:trace(self(), true, [procs, set_on_spawn, {tracer, spoor_tracer, State}]),
    _ = seq_trace:set_system_tracer(Tracer),
    Child = idler(),
    ?assertEqual(Tracer, spoor_tracing:tracer_of(Child)),
    #{events := Events} = stop(Session),
    ?assert(Events > 0),
    ?assertEqual(false, seq_trace:get_system_tracer()),
    spoor_leftovers:assert_none(Path),
    Child ! stop.

the_file_is_for_its_owner_only(Config) ->
    {ok, #{path := Path} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    ?assertEqual(8#600, mode(Path)),
    ?assertEqual(8#700, mode(?config(dir, Config))),
    Pattern = "^spoor-nonode@nohost-\\d{8}T\\d{6}Z-" ++ os:getpid() ++ "-\\d+\\.spoor$",
    ?assertMatch({match, _}, re:run(filename:basename(Path), Pattern)),
    _ = stop(Session).

the_directory_is_found_in_order(Config) ->
    Dir = ?config(dir, Config),
    In = fun(Name) -> filename:join(Dir, Name) end,
    Variables = ["SPOOR_DIR", "RELEASE_TMP", "ERL_CRASH_DUMP"],
    Saved = [{Variable, os:getenv(Variable)} || Variable <- Variables],
    true = os:putenv("SPOOR_DIR", In("variable")),
    ok = application:set_env(spoor, dir, In("environment")),
    true = os:putenv("RELEASE_TMP", In("release")),
    true = os:putenv("ERL_CRASH_DUMP", In("dump/erl_crash.dump")),
    ?assertEqual(In("option"), spoor_file:directory(In("option"))),
    ?assertEqual(In("variable"), spoor_file:directory(undefined)),
    true = os:unsetenv("SPOOR_DIR"),
    ?assertEqual(In("environment"), spoor_file:directory(undefined)),
    ok = application:unset_env(spoor, dir),
    ?assertEqual(In("release/spoor"), spoor_file:directory(undefined)),
    true = os:unsetenv("RELEASE_TMP"),
    ?assertEqual(In("dump"), spoor_file:directory(undefined)),
    true = os:putenv("ERL_CRASH_DUMP", "erl_crash.dump"),
    {ok, #file_info{uid = Uid}} = file:read_file_info("/proc/self"),
    ?assertEqual("/tmp/spoor-" ++ integer_to_list(Uid), spoor_file:directory(undefined)),
    {ok, Path} = spoor_file:path(undefined),
    ?assertMatch(<<"/tmp/spoor-", _/binary>>, filename:dirname(Path)),
    [restore(Variable, Value) || {Variable, Value} <- Saved].

processes_that_lived_before_have_names(Config) ->
    {ok, Server} = gen_server:start({local, spoor_api_named}, spoor_workload, [], []),
    {ok, #{path := Path} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    {ok, Bytes} = file:read_file(Path),
    [
        ?assertMatch({_, _}, binary:match(Bytes, Name))
     || Name <- [<<"spoor_api_named">>, <<"spoor_workload">>, <<"application_controller">>]
    ],
    _ = stop(Session),
    gen_server:stop(Server).

names_given_later_reach_the_file(Config) ->
    {ok, #{path := Path} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    Idler = idler(),
    true = register(spoor_api_named_later, Idler),
    spoor_leftovers:eventually(fun() ->
        {ok, Bytes} = file:read_file(Path),
        binary:match(Bytes, <<"spoor_api_named_later">>) =/= nomatch
    end),
    _ = stop(Session),
    Idler ! stop.

our_own_processes_are_never_traced(Config) ->
    {ok, #{pid := Pid} = Session} = start([{calls, [gen_statem, spoor_recording]}, messages], all, Config),
    [_ = spoor:status(Session) || _ <- lists:seq(1, 20)],
    ?assertMatch({ok, _}, sensitive(Pid)),
    #{path := Path} = stop(Session),
    {ok, Bytes} = file:read_file(Path),
    %% handle_event/4 was called for each status, in our own process only.
    ?assertEqual(nomatch, binary:match(Bytes, <<"handle_event">>)).

%% What can be seen of the flag from outside: its dictionary is hidden.
sensitive(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, []} -> {ok, Pid};
        {dictionary, Shown} -> {error, Shown}
    end.

a_summary_is_kept_for_later(Config) ->
    {ok, Session} = start({spoor_servant, work, 1}, [self()], Config),
    Summary = stop(Session),
    ?assertEqual({ok, Summary}, spoor:stop(Session)),
    ?assertEqual(Summary, spoor:status(Session)),
    ok = application:stop(spoor),
    ?assertEqual({error, not_recording}, spoor:stop(Session)),
    ?assertEqual({error, not_recording}, spoor:status(Session)).

stop_ends_all(Config) ->
    ?assertEqual({ok, []}, spoor:stop()),
    {ok, #{path := First}} = spoor:open(#{dir => ?config(dir, Config)}),
    {ok, #{path := Second}} = start(?MODULE, [self()], Config),
    ?assertMatch({ok, [#{path := First}, #{path := Second}]}, spoor:stop()).

%%% Without the library

without_the_library_the_node_boots(_Config) ->
    Paths = [Path || Path <- code:get_path(), filename:basename(filename:dirname(Path)) =:= "spoor"],
    Args = ["-spoor", "nif_path", "\"/nosuch/spoor_tracer.so\"" | lists:append([["-pa", P] || P <- Paths])],
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, args => Args}),
    Call = fun(M, F, A) -> peer:call(Peer, M, F, A) end,
    ?assertEqual({ok, [spoor]}, Call(application, ensure_all_started, [spoor])),
    Answers = [
        Call(spoor, start, [lists, #{}]),
        Call(spoor, open, [#{}]),
        Call(spoor, run, [{lists, seq, [1, 2]}, #{}])
    ],
    [?assertMatch({error, {nif_unavailable, <<"/nosuch/spoor_tracer.so: ", _/binary>>}}, A) || A <- Answers],
    ?assertEqual([], Call(spoor, status, [])),
    ?assertEqual({ok, []}, Call(spoor, stop, [])),
    ?assertEqual(remove, Call(spoor_tracer, enabled, [trace_status, 17, self()])),
    ?assertEqual(ok, Call(spoor_tracer, trace, [call, 17, self(), {a, b, 0}, #{}])),
    %% Its own mistakes are told first.
    ?assertMatch({error, {bad_option, _}}, Call(spoor, start, [lists, #{x => 1}])),
    ok = peer:stop(Peer).

%%% Helpers

plan(What) ->
    {ok, Plan} = spoor_spec:plan(What, #{}),
    Plan.

mode(Path) ->
    {ok, #file_info{mode = Mode}} = file:read_file_info(Path),
    Mode band 8#777.

restore(Variable, false) -> os:unsetenv(Variable);
restore(Variable, Value) -> os:putenv(Variable, Value).
