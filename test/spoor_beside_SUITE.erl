%% @doc Recordings beside each other, and beside what others trace.
-module(spoor_beside_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    one_tracer_for_each_process/1,
    one_recording_traces_at_a_time/1,
    foreign_patterns_are_kept/1,
    two_recordings_at_once/1,
    a_foreign_tracer_is_no_matter/1,
    two_gc_recordings_are_refused/1,
    who_is_about_to_trace_gc_is_waited_for/1,
    patterns_of_messages_are_seen/1,
    what_a_killed_application_left_is_cleared/1,
    gc_is_left_to_who_begins_later/1
]).

-import(spoor_servant, [work/1, idler/0, tell/3, start/3, start/4, stop/1, files/1]).

all() ->
    case spoor_leftovers:is_session_vm() of
        true -> [{group, sessions}];
        false -> [{group, one_tracer}]
    end.

groups() ->
    [
        {sessions, [], [
            two_recordings_at_once, a_foreign_tracer_is_no_matter, two_gc_recordings_are_refused,
            who_is_about_to_trace_gc_is_waited_for, gc_is_left_to_who_begins_later
        ]},
        {one_tracer, [], [
            one_tracer_for_each_process, one_recording_traces_at_a_time, foreign_patterns_are_kept,
            patterns_of_messages_are_seen, what_a_killed_application_left_is_cleared
        ]}
    ].

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_servant:nothing_recorded().

%%% One tracer for each process: before OTP 27

one_tracer_for_each_process(Config) ->
    Idler = idler(),
    1 = erlang:trace(Idler, true, [procs, {tracer, self()}]),
    ?assertEqual({error, {tracer_conflict, [Idler]}}, start(spoor_servant, [Idler], Config)),
    ?assertEqual({error, {tracer_conflict, [Idler]}}, start(spoor_servant, all, Config)),
    ?assertEqual({tracer, self()}, erlang:trace_info(Idler, tracer)),
    ?assertEqual([], files(Config)),
    spoor_leftovers:assert_untraced([{spoor_servant, work, 1}]),
    %% Others are free, and stopping ours leaves theirs alone.
    {ok, Session} = start({spoor_servant, work, 1}, [self()], Config),
    ok = work(1),
    ?assertMatch(#{events := 3}, stop(Session)),
    ?assertEqual({tracer, self()}, erlang:trace_info(Idler, tracer)),
    1 = erlang:trace(Idler, false, [all]),
    Idler ! stop.

one_recording_traces_at_a_time(Config) ->
    Idler = idler(),
    {ok, #{pid := Pid, path := Path} = Session} = start({spoor_servant, work, 1}, [self()], Config),
    ?assertEqual({error, {already_recording, [Pid]}}, start(spoor_servant, [Idler], Config)),
    Text = spoor:format_error({already_recording, [Pid]}),
    ?assertNotEqual(nomatch, string:find(Text, Path)),
    ?assertNotEqual(nomatch, string:find(Text, "spoor:stop()")),
    ok = work(1),
    ?assertMatch(#{events := 3}, stop(Session)),
    %% At once: nothing of the first is left.
    {ok, Next} = start({spoor_servant, work, 1}, [Idler], Config),
    _ = stop(Next),
    Idler ! stop.

foreign_patterns_are_kept(Config) ->
    Spec = [{'_', [], [{return_trace}]}],
    1 = erlang:trace_pattern({spoor_servant, secret, 1}, Spec, [local]),
    ?assertMatch({error, {tracer_conflict, [{spoor_servant, secret, 1}]}}, start({spoor_servant, secret}, [self()], Config)),
    %% Not the first function of the module.
    ?assertMatch({error, {tracer_conflict, [{spoor_servant, secret, 1}]}}, start(spoor_servant, [self()], Config)),
    ?assertEqual({match_spec, Spec}, erlang:trace_info({spoor_servant, secret, 1}, match_spec)),
    1 = erlang:trace_pattern({spoor_servant, secret, 1}, false, [local]).

%% They would leave out messages, and nobody would know.
patterns_of_messages_are_seen(Config) ->
    [
        begin
            _ = erlang:trace_pattern(Event, Spec, []),
            ?assertEqual({error, {tracer_conflict, [Event]}}, start(messages, [self()], Config)),
            %% Calls are not touched by it; requests have a pattern of their own meanwhile.
            {ok, Calls} = start({spoor_servant, work, 1}, [self()], Config),
            _ = stop(Calls),
            {ok, Requests} = start(requests, [self()], Config),
            _ = stop(Requests),
            ?assertEqual({error, {tracer_conflict, [Event]}}, start(messages, [self()], Config)),
            _ = erlang:trace_pattern(Event, true, [])
        end
     || {Event, Spec} <- [{send, [{['_', foo], [], []}]}, {send, false}, {'receive', false}]
    ],
    {ok, Session} = start(messages, [self()], Config),
    _ = stop(Session).

%% The whole application at once: nobody is left who could clean up.
what_a_killed_application_left_is_cleared(Config) ->
    {ok, #{pid := Recording}} = start([requests, {spoor_servant, work, 1}], [self()], Config, #{link => false}),
    Monitors = [monitor(process, Process) || Process <- [spoor_registry, Recording]],
    true = exit(whereis(spoor_sup), kill),
    [receive {'DOWN', Monitor, process, _, _} -> ok end || Monitor <- Monitors],
    spoor_leftovers:eventually(fun() ->
        not lists:keymember(spoor, 1, application:which_applications())
    end),
    {ok, _} = application:ensure_all_started(spoor),
    {ok, Session} = start([messages, {spoor_servant, work, 1}], [self()], Config),
    self() ! anything,
    receive anything -> ok end,
    #{events := Events} = stop(Session),
    ?assert(Events >= 3),
    spoor_leftovers:assert_untraced([{spoor_servant, work, 1}]).

%%% Sessions: from OTP 27

two_recordings_at_once(Config) ->
    {ok, #{path := One} = First} = start({spoor_servant, work, 1}, [self()], Config),
    {ok, #{path := Two} = Second} = start({spoor_servant, work, 1}, [self()], Config),
    ?assertMatch([#{path := One}, #{path := Two}], spoor:status()),
    ok = work(10),
    ?assertMatch(#{events := 12}, stop(First)),
    ok = work(10),
    ?assertMatch(#{events := 24}, stop(Second)),
    spoor_leftovers:assert_none(One),
    spoor_leftovers:assert_none(Two).

a_foreign_tracer_is_no_matter(Config) ->
    Idler = idler(),
    1 = erlang:trace(Idler, true, ['receive', {tracer, self()}]),
    {ok, Session} = start({spoor_servant, work, 1}, [Idler], Config),
    ok = tell(Idler, work, 10),
    ?assertMatch(#{events := 12}, stop(Session)),
    receive
        {trace, Idler, 'receive', {_, work, 10}} -> ok
    after 1000 -> ct:fail(their_trace_is_gone)
    end,
    ?assertEqual({tracer, self()}, erlang:trace_info(Idler, tracer)),
    1 = erlang:trace(Idler, false, [all]),
    Idler ! stop.

two_gc_recordings_are_refused(Config) ->
    Idler = idler(),
    {ok, First} = start(gc, [Idler], Config),
    ?assertEqual({error, {unsafe_on_otp, <<"GH-11624">>}}, start(gc, [self()], Config)),
    ?assertEqual({error, {unsafe_on_otp, <<"GH-11624">>}}, start(full, [self()], Config)),
    {ok, Other} = start(spoor_servant, [self()], Config),
    _ = stop(Other),
    _ = stop(First),
    spoor_leftovers:eventually(fun() ->
        case start(gc, [self()], Config) of
            {ok, Next} -> is_map(stop(Next));
            {error, {unsafe_on_otp, _}} -> false
        end
    end),
    %% Somebody else's, in the VM's own session.
    1 = erlang:trace(Idler, true, [garbage_collection, {tracer, self()}]),
    ?assertEqual({error, {unsafe_on_otp, <<"GH-11624">>}}, start(gc, [self()], Config)),
    1 = erlang:trace(Idler, false, [all]),
    Idler ! stop.

%% Who has called, but has not set the flag yet when the guard is put up, is not seen by
%% it; here he is stopped while he waits for his tracer's module to be loaded.
who_is_about_to_trace_gc_is_waited_for(Config) ->
    Idler = idler(),
    {ok, First} = start(gc, [Idler], Config),
    _ = stop(First),
    CodeServer = whereis(code_server),
    true = erlang:suspend_process(CodeServer),
    About = spawn(fun() -> erlang:trace(Idler, true, [garbage_collection, {tracer, no_such_tracer, []}]) end),
    spoor_leftovers:eventually(fun() ->
        {_, Frames} = process_info(About, current_stacktrace),
        lists:any(fun({M, F, _, _}) -> {M, F} =:= {erlang, trace} end, Frames)
    end),
    true = erlang:suspend_process(About),
    true = erlang:resume_process(CodeServer),
    ?assertEqual({error, {unsafe_on_otp, <<"GH-11624">>}}, start(gc, [Idler], Config)),
    Monitor = monitor(process, About),
    true = erlang:resume_process(About),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    {ok, Next} = start(gc, [Idler], Config),
    _ = stop(Next),
    Idler ! stop.

%% Two sessions that trace garbage collections of a process end this VM: the recording
%% gives way to whoever begins later, and says so.
gc_is_left_to_who_begins_later(Config) ->
    Busy = spawn_link(fun collect/0),
    [
        begin
            {ok, #{path := Path} = Session} = start(What, Procs, Config),
            eventually_collected(Session, 0),
            Self = self(),
            Tracer = spawn_link(fun() -> receive {trace, Busy, gc_major_start, _} -> Self ! {traced, self()} end, drain() end),
            Stop = begin_gc(Who, Busy, Tracer),
            receive {traced, Tracer} -> ok after 5_000 -> ct:fail({no_gc, Who}) end,
            %% Told when it is looked at, and counted from the first.
            spoor_leftovers:eventually(fun() -> has_gc_warning(Session) end, 500),
            #{events := Events, dropped := #{gc_guard := Guarded}} = spoor:status(Session),
            timer:sleep(100),
            #{dropped := #{gc_guard := Later}} = spoor:status(Session),
            ?assert(Guarded > 0 andalso Later > Guarded),
            Stop(),
            #{events := After, dropped := #{gc_guard := AtEnd}} = stop(Session),
            ?assert(AtEnd >= Later andalso After >= Events),
            {ok, Bytes} = file:read_file(Path),
            ?assertMatch({_, _}, binary:match(Bytes, <<"gc_left_to_others">>)),
            ?assertMatch({0, _}, spoor_reading:run("check", [Path])),
            unlink(Tracer),
            exit(Tracer, kill)
        end
     || Who <- [legacy, session], {What, Procs} <- [{gc, [Busy]}, {full, [Busy]}]
    ],
    %% Who traces something else is left alone, and garbage collections are taken back.
    {ok, Session} = start(gc, [Busy], Config),
    Idler = idler(),
    1 = erlang:trace(Idler, true, [send, {tracer, self()}]),
    #{events := Before} = spoor:status(Session),
    eventually_collected(Session, Before + 100),
    ?assertNot(has_gc_warning(Session)),
    _ = stop(Session),
    1 = erlang:trace(Idler, false, [all]),
    Idler ! stop,
    unlink(Busy),
    exit(Busy, kill).

collect() ->
    _ = lists:seq(1, 1000),
    true = garbage_collect(),
    collect().

begin_gc(legacy, Pid, Tracer) ->
    1 = erlang:trace(Pid, true, [garbage_collection, {tracer, Tracer}]),
    fun() -> 1 = erlang:trace(Pid, false, [all]) end;
begin_gc(session, Pid, Tracer) ->
    {session, Api} = spoor_tracing:api(),
    Session = Api:session_create(other, Tracer, []),
    1 = Api:process(Session, Pid, true, [garbage_collection]),
    fun() -> Api:session_destroy(Session) end.

has_gc_warning(Session) ->
    #{warnings := Warnings} = spoor:status(Session),
    lists:any(fun(Warning) -> binary:match(Warning, <<"GH-11624">>) =/= nomatch end, Warnings).

eventually_collected(Session, Events) ->
    spoor_leftovers:eventually(fun() -> maps:get(events, spoor:status(Session)) > Events end, 500).

drain() -> receive _ -> drain() end.
