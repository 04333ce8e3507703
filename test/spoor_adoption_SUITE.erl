%% @doc Recordings that a killed VM left are found by the next one: marked, kept up to
%% `keep', named in the log. Whatever else lies there is left as it is, above all what a
%% living VM records into.
-module(spoor_adoption_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_killed_vm_leaves_a_crashed_recording/1, a_stream_is_found_too/1, a_living_vm_keeps_its_recording/1,
    links_and_garbage_are_left_alone/1, the_oldest_beyond_keep_go/1, only_so_many_bytes_are_kept/1,
    nothing_is_looked_at_when_off/1, nonsense_in_the_environment_deletes_nothing/1,
    a_directory_is_looked_through_when_it_is_first_used/1, what_cannot_be_read_keeps_nobody_from_starting/1,
    who_looks_is_killed_and_looks_again/1, the_registry_is_killed/1,
    two_vms_that_start_at_once_find_it_once/1, files_of_another_user_are_left_alone/1,
    in_another_pid_namespace_the_lock_tells/1, a_vm_that_ends_in_order_says_how/1
]).
-export([victim/0, finder/0, log/2]).

-define(LEFT_ALONE, <<"SPOOR\r\n", 0, "no recording at all">>).

all() ->
    [
        a_killed_vm_leaves_a_crashed_recording, a_stream_is_found_too, a_living_vm_keeps_its_recording,
        links_and_garbage_are_left_alone, the_oldest_beyond_keep_go, only_so_many_bytes_are_kept,
        nothing_is_looked_at_when_off, nonsense_in_the_environment_deletes_nothing,
        a_directory_is_looked_through_when_it_is_first_used, what_cannot_be_read_keeps_nobody_from_starting,
        who_looks_is_killed_and_looks_again, the_registry_is_killed,
        two_vms_that_start_at_once_find_it_once, a_vm_that_ends_in_order_says_how, {group, root}
    ].

%% What only root can set up.
groups() -> [{root, [], [files_of_another_user_are_left_alone, in_another_pid_namespace_the_lock_tells]}].

init_per_group(root, Config) ->
    case os:cmd("id -u") of
        "0\n" -> Config;
        _ -> {skip, "not root"}
    end.

end_per_group(root, _Config) -> ok.

init_per_testcase(Case, Config) ->
    _ = application:stop(spoor),
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    true = os:putenv("SPOOR_DIR", Dir),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => warning, config => #{to => self()}}),
    [{dir, Dir} | Config].

end_per_testcase(_Case, _Config) ->
    ok = logger:remove_handler(?MODULE),
    true = os:unsetenv("SPOOR_DIR"),
    [ok = application:unset_env(spoor, Key) || Key <- [keep, keep_bytes]],
    application:stop(spoor).

%%% Cases

a_killed_vm_leaves_a_crashed_recording(Config) ->
    {Path, _} = killed(Config),
    ?assertMatch(#{<<"state">> := <<"died">>, <<"found">> := undefined}, info(Path)),
    [#{path := Path, bytes := Bytes, started := Started}] = boot(),
    ?assertEqual(filelib:file_size(Path), Bytes),
    ?assertMatch(<<"20", _:8/binary, "T", _:12/binary, "Z">>, Started),
    #{<<"state">> := <<"died">>, <<"found">> := [FoundNs, Finder], <<"start_wall_ns">> := StartNs} = info(Path),
    ?assertEqual(os:getpid(), integer_to_list(Finder)),
    ?assert(FoundNs > StartNs andalso FoundNs =< os:system_time(nanosecond)),
    ?assertMatch({0, _}, spoor_reading:run("check", [Path])),
    [Line] = logged(),
    [
        ?assertNotEqual({nomatch, Line}, {string:find(Line, Part), Line})
     || Part <- [filename:basename(Path), <<"spoor info ", Path/binary>>, <<"spoor calls ", Path/binary>>]
    ],
    %% Said once.
    ok = application:stop(spoor),
    ?assertMatch([#{path := Path}], boot()),
    ?assertEqual([], logged()).

a_stream_is_found_too(Config) ->
    {Path, _} = killed(Config, "stream"),
    [#{path := Path, bytes := Bytes}] = boot(),
    ?assert(Bytes > 2 * 1024 * 1024),
    ?assertMatch(#{<<"state">> := <<"died">>, <<"found">> := [_, _], <<"mode">> := <<"stream">>}, info(Path)),
    ok = application:stop(spoor),
    application:set_env(spoor, keep, 0),
    ?assertEqual([], boot()),
    ?assertEqual([], recordings(Config)).

a_living_vm_keeps_its_recording(Config) ->
    {Dead, _} = killed(Config),
    {Live, Port, OsPid} = started(Config, "ring", []),
    application:set_env(spoor, keep, 0),
    ?assertEqual([], boot()),
    ?assertEqual([Live], recordings(Config)),
    ?assertMatch(#{<<"state">> := <<"recording">>}, info(Live)),
    [Line] = logged(),
    ?assertNotEqual(nomatch, string:find(Line, filename:basename(Dead))),
    ?assertEqual(nomatch, string:find(Line, filename:basename(Live))),
    kill(Port, OsPid).

links_and_garbage_are_left_alone(Config) ->
    {Path, _} = killed(Config),
    In = fun(Name) -> filename:join(?config(dir, Config), Name) end,
    Elsewhere = filename:join(?config(priv_dir, Config), "elsewhere"),
    ok = file:rename(Path, Elsewhere),
    {ok, Before} = file:read_file(Elsewhere),
    ok = file:make_symlink(Elsewhere, Path),
    ok = file:make_symlink("/dev/zero", In("spoor-zero.spoor")),
    ok = file:make_symlink(In("spoor-loop.spoor"), In("spoor-loop.spoor")),
    ok = file:write_file(In("spoor-garbage.spoor"), ?LEFT_ALONE),
    ok = file:write_file(In("spoor-empty.spoor"), <<>>),
    {ok, _} = file:copy(Elsewhere, In("mine.spoor")),
    ok = file:make_dir(In("spoor-empty-dir.spoor")),
    application:set_env(spoor, keep, 0),
    ?assertEqual([], boot()),
    ?assertEqual([], logged()),
    ?assertEqual(7, length(recordings(Config))),
    ?assertEqual({ok, ?LEFT_ALONE}, file:read_file(In("spoor-garbage.spoor"))),
    [?assertEqual({ok, Before}, file:read_file(File)) || File <- [Elsewhere, In("mine.spoor")]],
    ok = file:delete(Elsewhere).

the_oldest_beyond_keep_go(Config) ->
    application:set_env(spoor, keep, off),
    Paths = [Path || _ <- [1, 2, 3], {Path, _} <- [killed(Config)]],
    %% By their own clocks, not by the times of the files.
    ok = file:change_time(hd(Paths), calendar:local_time()),
    application:set_env(spoor, keep, 2),
    [_Oldest | Kept] = Paths,
    ?assertEqual(lists:reverse(Kept), [Path || #{path := Path} <- boot()]),
    ?assertEqual(lists:sort(Kept), recordings(Config)),
    ?assertMatch([_], logged()).

only_so_many_bytes_are_kept(Config) ->
    [Old, New] = [Path || _ <- [1, 2], {Path, _} <- [killed(Config)]],
    application:set_env(spoor, keep_bytes, filelib:file_size(Old) + 1),
    ?assertMatch([#{path := New}], boot()),
    ?assertEqual([New], recordings(Config)).

nothing_is_looked_at_when_off(Config) ->
    {Path, _} = killed(Config),
    application:set_env(spoor, keep, off),
    ?assertEqual([], boot()),
    ?assertEqual([], logged()),
    ?assertMatch(#{<<"found">> := undefined}, info(Path)).

nonsense_in_the_environment_deletes_nothing(Config) ->
    {Path, _} = killed(Config),
    application:set_env(spoor, keep, <<"few">>),
    application:set_env(spoor, keep_bytes, [nonsense]),
    ?assertMatch([#{path := Path}], boot()),
    ?assertMatch([_, _, _], logged()).

a_directory_is_looked_through_when_it_is_first_used(Config) ->
    {Path, _} = killed(Config),
    true = os:putenv("SPOOR_DIR", ?config(dir, Config) ++ "-other"),
    ?assertEqual([], boot()),
    {ok, Session} = spoor:start({?MODULE, log, 2}, #{dir => ?config(dir, Config), ring => <<"2MiB">>}),
    ?assertMatch([#{path := Path}], spoor:crashed()),
    ?assertMatch([_], logged()),
    ?assertMatch({ok, _}, spoor:stop(Session)),
    ?assertMatch([#{path := Path}], spoor:crashed()).

what_cannot_be_read_keeps_nobody_from_starting(Config) ->
    File = filename:join(?config(dir, Config), "a-file"),
    ok = file:write_file(File, ""),
    true = os:putenv("SPOOR_DIR", File),
    ?assertEqual([], boot()),
    true = os:putenv("SPOOR_DIR", "/nowhere/at/all"),
    ok = application:stop(spoor),
    ?assertEqual([], boot()),
    ?assertEqual({error, enoent}, file:read_file_info("/nowhere")),
    %% Should the looking itself fail again and again, it is given up and all the rest goes on.
    Others = [whereis(Name) || Name <- [spoor_registry, spoor_recording_sup]],
    _ = [kill_adoption() || _ <- lists:seq(1, 4)],
    spoor_leftovers:eventually(fun() -> not is_looked_after() end),
    ?assertEqual(undefined, whereis(spoor_adoption)),
    {ok, Session} = spoor:start({?MODULE, log, 2}, #{dir => ?config(dir, Config), ring => <<"2MiB">>}),
    ?assertMatch({ok, _}, spoor:stop(Session)),
    ?assertEqual(Others, [whereis(Name) || Name <- [spoor_registry, spoor_recording_sup]]),
    ?assertEqual([], spoor:crashed()).

who_looks_is_killed_and_looks_again(Config) ->
    {Path, _} = killed(Config),
    ?assertMatch([#{path := Path}], boot()),
    kill_adoption(),
    spoor_leftovers:eventually(fun() -> is_pid(whereis(spoor_adoption)) end),
    {Later, _} = killed(Config),
    kill_adoption(),
    spoor_leftovers:eventually(fun() -> [P || #{path := P} <- spoor:crashed()] =:= [Later, Path] end),
    ?assertMatch([_, _], logged()).

%% The registry takes all with it that knows of recordings. What died before is found
%% again, what comes then is looked through, and recordings of this VM are nobody's find.
the_registry_is_killed(Config) ->
    {Dead, _} = killed(Config),
    ?assertMatch([#{path := Dead}], boot()),
    Other = ?config(dir, Config) ++ "-other",
    {InOther, _} = killed([{dir, Other} | lists:keydelete(dir, 1, Config)]),
    Start = fun(Dir) -> spoor:start({?MODULE, log, 2}, #{dir => Dir, ring => <<"2MiB">>, link => false}) end,
    Own = [Path || _ <- [1, 2], {ok, #{path := Path}} <- [Start(?config(dir, Config))]],
    application:set_env(spoor, keep, 1),
    _ = [
        begin
            Before = [whereis(Name) || Name <- [spoor_registry, spoor_adoption]],
            true = exit(whereis(spoor_registry), kill),
            spoor_leftovers:eventually(fun() ->
                Now = [whereis(Name) || Name <- [spoor_registry, spoor_adoption]],
                lists:all(fun is_pid/1, Now) andalso Now -- Before =:= Now
            end),
            ?assertEqual([Dead], [Path || #{path := Path} <- spoor:crashed()])
        end
     || _ <- [1, 2]
    ],
    _ = [spoor_leftovers:assert_none(Path) || Path <- Own],
    _ = [?assertMatch(#{<<"state">> := <<"stopped">>, <<"found">> := undefined}, info(Path)) || Path <- Own],
    ?assertEqual(lists:sort([Dead | Own]), recordings(Config)),
    application:set_env(spoor, keep, 10),
    {ok, Session} = Start(Other),
    ?assertEqual(lists:sort([Dead, InOther]), lists:sort([Path || #{path := Path} <- spoor:crashed()])),
    ?assertMatch({ok, _}, spoor:stop(Session)).

two_vms_that_start_at_once_find_it_once(Config) ->
    Paths = [Path || _ <- [1, 2, 3], {Path, _} <- [killed(Config)]],
    [ok = clear_mark(Path) || Path <- Paths],
    Ports = [vm(Config, "finder", []) || _ <- [1, 2]],
    Lines = lists:append([lines(Port) || Port <- Ports]),
    Crashed = [Line || <<"crashed ", Line/binary>> <- Lines],
    ?assertEqual(lists:sort(Paths ++ Paths), lists:sort(Crashed)),
    Named = [Path || <<"logged ", Line/binary>> <- Lines, Path <- Paths, names(Line, Path)],
    ?assertEqual(lists:sort(Paths), lists:sort(Named)).

a_vm_that_ends_in_order_says_how(Config) ->
    [
        begin
            {Path, Port, _} = started(Config, Mode, []),
            receive {Port, {exit_status, Status}} -> ok after 30_000 -> error({does_not_end, Mode}) end,
            ?assertMatch(#{<<"state">> := <<"stopped">>, <<"reason">> := Reason}, info(Path)),
            ?assertMatch({0, _}, spoor_reading:run("check", [Path]))
        end
     || {Mode, Status, Reason} <- [
            {"halt", 0, <<"the VM halted with status 0">>},
            {"halt_3", 3, <<"the VM halted with status 3">>},
            {"init_stop", 0, <<"the application stopped">>}
        ]
    ],
    ?assertEqual([], boot()),
    ?assertEqual([], logged()).

files_of_another_user_are_left_alone(Config) ->
    {Path, _} = killed(Config),
    ok = file:change_owner(binary_to_list(Path), 65534),
    {ok, Before} = file:read_file(Path),
    application:set_env(spoor, keep, 0),
    ?assertEqual([], boot()),
    ?assertEqual({ok, Before}, file:read_file(Path)).

%% As in containers: the same process ids for different processes.
in_another_pid_namespace_the_lock_tells(Config) ->
    Unshare = ["unshare", "--pid", "--fork", "--kill-child", "--"],
    {Dead, Port, _} = started(Config, "ring", Unshare),
    {Live, LivePort, _} = started(Config, "ring", Unshare),
    kill_port(Port),
    application:set_env(spoor, keep, 10),
    ?assertMatch([#{path := Dead}], boot()),
    ?assertMatch(#{<<"state">> := <<"unfinished">>, <<"found">> := undefined}, info(Live)),
    kill_port(LivePort),
    ok = application:stop(spoor),
    ?assertEqual([Live, Dead], [Path || #{path := Path} <- boot()]).

%%% VMs

killed(Config) -> killed(Config, "ring").

killed(Config, Mode) ->
    {Path, Port, OsPid} = started(Config, Mode, []),
    kill(Port, OsPid),
    {Path, OsPid}.

%% A VM that records, and looks at nothing itself.
started(Config, Mode, Before) ->
    Port = vm(Config, "victim", Before, Mode),
    receive
        {Port, {data, {eol, Line}}} ->
            [OsPid, Path] = string:split(Line, " "),
            {Path, Port, binary_to_list(OsPid)}
    after 30_000 -> error(victim_does_not_start)
    end.

kill(Port, OsPid) ->
    "" = os:cmd("kill -9 " ++ OsPid),
    receive {Port, {exit_status, 137}} -> ok after 10_000 -> error(not_killed) end.

kill_port(Port) ->
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    "" = os:cmd("kill -9 " ++ integer_to_list(OsPid)),
    receive {Port, {exit_status, 137}} -> ok after 10_000 -> error(not_killed) end,
    %% The VM behind it goes at the same moment, and is waited for by the kernel.
    timer:sleep(300).

vm(Config, Function, Before) -> vm(Config, Function, Before, "ring").

vm(Config, Function, Before, Mode) ->
    Paths = [filename:dirname(code:which(M)) || M <- [?MODULE, spoor]],
    [Program | Args] = Before ++ ["erl", "-noinput", "+S", "2:2", "-pa" | Paths] ++ ["-s", ?MODULE_STRING, Function],
    open_port({spawn_executable, os:find_executable(Program)}, [
        {args, Args}, {env, [{"SPOOR_DIR", ?config(dir, Config)}, {"SPOOR_MODE", Mode}]},
        {line, 10_000}, binary, exit_status, hide
    ]).

lines(Port) ->
    receive
        {Port, {data, {eol, Line}}} -> [Line | lines(Port)];
        {Port, {exit_status, 0}} -> []
    after 30_000 -> error(vm_does_not_answer)
    end.

%% @doc The VM that is killed.
victim() ->
    _ = application:load(spoor),
    ok = application:set_env(spoor, keep, off),
    Storage =
        case os:getenv("SPOOR_MODE") of
            "stream" -> #{stream => <<"16MiB">>, segment => <<"1MiB">>};
            _ -> #{ring => <<"2MiB">>}
        end,
    {ok, #{path := Path}} = spoor:start({lists, seq, 2}, Storage#{time => infinity, link => false}),
    _ = lists:seq(1, 10),
    io:format("~s ~ts~n", [os:getpid(), Path]),
    case os:getenv("SPOOR_MODE") of
        "halt" -> halt(0);
        "halt_3" -> halt(3);
        "init_stop" -> init:stop();
        _ -> ok
    end,
    timer:sleep(60_000),
    halt(1).

%% @doc A VM that starts and looks.
finder() ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => warning, config => #{to => self()}}),
    {ok, _} = application:ensure_all_started(spoor),
    [io:format("crashed ~ts~n", [Path]) || #{path := Path} <- spoor:crashed()],
    [io:format("logged ~ts~n", [Line]) || Line <- logged()],
    halt(0).

%% What is found when the application starts. Looking is over when the answer is there.
boot() ->
    {ok, [spoor]} = application:ensure_all_started(spoor),
    spoor:crashed().

kill_adoption() ->
    spoor_leftovers:eventually(fun() -> is_pid(whereis(spoor_adoption)) orelse not is_looked_after() end),
    case whereis(spoor_adoption) of
        undefined ->
            ok;
        Pid ->
            Monitor = monitor(process, Pid),
            true = exit(Pid, kill),
            receive {'DOWN', Monitor, process, Pid, _} -> ok end
    end.

is_looked_after() ->
    {_, Supervisor, _, _} = lists:keyfind(spoor_adoption_sup, 1, supervisor:which_children(spoor_sup)),
    is_pid(Supervisor).

%%% Files

recordings(Config) ->
    Files = filelib:wildcard(filename:join(?config(dir, Config), "*.spoor")) ++ links(?config(dir, Config)),
    lists:usort([unicode:characters_to_binary(File) || File <- Files]).

%% Those that lead nowhere.
links(Dir) ->
    {ok, Names} = file:list_dir_all(Dir),
    [filename:join(Dir, Name) || Name <- Names, {ok, _} <- [file:read_link(filename:join(Dir, Name))]].

%% As if nobody had found it.
clear_mark(Path) ->
    {ok, Device} = file:open(Path, [read, write, raw, binary]),
    ok = file:pwrite(Device, [{1024, <<1:32/little>>}, {1040, <<0:128>>}]),
    file:close(Device).

info(Path) ->
    spoor_reading:json("info", [Path]).

names(Line, Path) ->
    string:find(Line, filename:basename(Path)) =/= nomatch.

%%% Log

%% @doc A handler of the logger.
log(Event, #{config := #{to := To}}) ->
    Text = logger_formatter:format(Event, #{template => [msg], single_line => true}),
    To ! {logged, unicode:characters_to_binary(Text)}.

%% What Spoor said since it was asked last.
logged() ->
    receive
        {logged, <<"spoor: ", _/binary>> = Line} -> [Line | logged()];
        {logged, _} -> logged()
    after 0 -> []
    end.
