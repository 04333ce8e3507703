%% @doc A disk without room and a directory without permission are answers of
%% spoor:start/2, never a signal that ends the node later.
%%
%% The cases that need a file system of their own mount a small tmpfs. Where
%% that is not allowed (no root, or a container), the full disk is a recording
%% larger than all of /dev/shm, the read-only file system a directory mode, and the
%% group `own_disk' is reported as skipped.
-module(spoor_disk_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_full_disk_is_an_error_at_start/1,
    a_directory_that_cannot_be_written_is_an_error_at_start/1,
    a_path_below_a_file_is_an_error_at_start/1,
    a_missing_directory_is_made_for_its_owner_only/1,
    every_size_up_to_the_last_block/1,
    a_disk_that_fills_up_later_does_not_matter/1,
    a_stream_on_a_full_disk_is_an_error_at_start/1,
    a_stream_gives_up_its_oldest_on_a_full_disk/1,
    a_stream_that_keeps_the_first_goes_on_when_there_is_room/1
]).
-export([work/1, log/2]).

-define(MIB, (1024 * 1024)).
-define(SMALL_DISK_BYTES, (4 * ?MIB)).
-define(STREAM_DISK_BYTES, (24 * ?MIB)).
%% Events between two pauses of a stream's workload.
-define(STEP, 10_000).

all() -> [{group, anywhere}, {group, own_disk}].

groups() ->
    [
        {anywhere, [], [
            a_full_disk_is_an_error_at_start,
            a_directory_that_cannot_be_written_is_an_error_at_start,
            a_path_below_a_file_is_an_error_at_start,
            a_missing_directory_is_made_for_its_owner_only
        ]},
        {own_disk, [], [
            every_size_up_to_the_last_block,
            a_disk_that_fills_up_later_does_not_matter,
            a_stream_on_a_full_disk_is_an_error_at_start,
            a_stream_gives_up_its_oldest_on_a_full_disk,
            a_stream_that_keeps_the_first_goes_on_when_there_is_room
        ]}
    ].

init_per_suite(Config) ->
    {ok, Started} = application:ensure_all_started(spoor),
    [{started, Started}, {can_mount, can_mount()} | Config].

end_per_suite(Config) ->
    [ok = application:stop(App) || App <- lists:reverse(?config(started, Config))],
    ok.

init_per_group(own_disk, Config) ->
    case ?config(can_mount, Config) of
        true -> Config;
        false -> {skip, "a tmpfs may not be mounted here"}
    end;
init_per_group(anywhere, Config) ->
    Config.

end_per_group(_Group, _Config) -> ok.

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    ok = file:change_mode(Dir, 8#700),
    [{dir, Dir} | Config].

end_per_testcase(_Case, Config) ->
    Dir = ?config(dir, Config),
    ?assertEqual([], spoor:status()),
    _ = is_mounted(Dir) andalso sh("umount -l", Dir),
    file:change_mode(Dir, 8#700).

%%% Cases

a_full_disk_is_an_error_at_start(Config) ->
    {Dir, Ring} = too_large(?config(can_mount, Config), ?config(dir, Config)),
    Answer = start(Dir, Ring),
    ?assertMatch({error, {no_space, _, _}}, Answer),
    {error, {no_space, Need, Have} = Reason} = Answer,
    ?assert(Need >= Ring),
    ?assert(Have < Need),
    ?assertEqual([], recordings(Dir)),
    ?assertMatch({match, _}, re:run(spoor:format_error(Reason), "space|room")),
    %% What fits is still possible.
    {ok, Session} = start(Dir, ?MIB),
    {ok, _} = spoor:stop(Session),
    [File] = recordings(Dir),
    ok = file:delete(File),
    _ = file:del_dir(Dir),
    ok.

a_directory_that_cannot_be_written_is_an_error_at_start(Config) ->
    Dir = ?config(dir, Config),
    Posix = forbid_writing(?config(can_mount, Config), Dir),
    Answer = start(Dir, ?MIB),
    ?assertMatch({error, {dir_unwritable, _, Posix}}, Answer),
    {error, {dir_unwritable, Named, _} = Reason} = Answer,
    ?assertEqual(Dir, unicode:characters_to_list(Named)),
    ?assertMatch({match, _}, re:run(spoor:format_error(Reason), filename:basename(Dir))),
    ?assertEqual([], recordings(Dir)).

a_path_below_a_file_is_an_error_at_start(Config) ->
    File = filename:join(?config(dir, Config), "file"),
    ok = file:write_file(File, "not a directory"),
    ?assertMatch({error, {dir_unwritable, _, enotdir}}, start(filename:join(File, "below"), ?MIB)),
    ?assertEqual({ok, <<"not a directory">>}, file:read_file(File)).

a_missing_directory_is_made_for_its_owner_only(Config) ->
    Dir = filename:join(?config(dir, Config), "made"),
    {ok, Session} = start(Dir, ?MIB),
    {ok, _} = spoor:stop(Session),
    [File] = recordings(Dir),
    ?assertEqual(8#700, mode(Dir)),
    ?assertEqual(8#600, mode(File)).

%% Sizes from well inside to beyond the disk: each one is a recording or an
%% answer, and an answer leaves nothing behind.
every_size_up_to_the_last_block(Config) ->
    Dir = small_disk(?config(dir, Config)),
    Sizes = lists:seq(3 * ?MIB, 5 * ?MIB, 64 * 1024),
    Answers = [fits(Dir, Ring) || Ring <- Sizes],
    {Fit, TooLarge} = lists:splitwith(fun(Answer) -> Answer =:= recorded end, Answers),
    ?assertNotEqual([], Fit),
    ?assertNotEqual([], TooLarge),
    ?assertEqual([no_space], lists:usort(TooLarge), {Fit, TooLarge}).

%% The blocks of a recording are its own from the start: with the disk full to
%% the last byte it goes on over every page of its ring.
a_disk_that_fills_up_later_does_not_matter(Config) ->
    Dir = small_disk(?config(dir, Config)),
    {ok, Session} = start(Dir, 2 * ?MIB),
    Filler = filename:join(Dir, "filler"),
    fill(Filler),
    %% More than the ring holds, so that each of its pages is written to.
    ok = work(600000),
    {ok, #{path := File, events := Events, overwritten := Overwritten}} = spoor:stop(Session),
    ?assert(Events >= 600000),
    ?assert(Overwritten > 0),
    ok = file:delete(Filler),
    ?assertMatch({0, _}, spoor_reading:run("info", [File])).

a_stream_on_a_full_disk_is_an_error_at_start(Config) ->
    Dir = small_disk(?config(dir, Config)),
    ?assertMatch({error, {no_space, _, _}}, stream(Dir, #{segment => 4 * ?MIB, stream => 64 * ?MIB})),
    ?assertEqual([], recordings(Dir)).

%% More is recorded than the disk holds, and somebody else takes what is left of it:
%% the newest events are there, what was given up for them is told.
a_stream_gives_up_its_oldest_on_a_full_disk(Config) ->
    Dir = small_disk(?config(dir, Config), ?STREAM_DISK_BYTES),
    {ok, Session} = stream(Dir, #{}),
    Filler = filename:join(Dir, "filler"),
    ok = paced(50),
    fill(Filler),
    ok = paced(400),
    #{dropped := DroppedSoFar} = spoor:status(Session),
    {ok, #{path := Path, events := Events, overwritten := Overwritten, dropped := Dropped}} = spoor:stop(Session),
    ?assert(Overwritten > 0),
    %% What was dropped has one cause, and was told before the end.
    ?assertEqual([], maps:keys(maps:remove(no_segment, Dropped))),
    ?assertEqual(Dropped, DroppedSoFar),
    ?assertEqual(450 * (?STEP + 1), Events + lists:sum(maps:values(Dropped))),
    {Present, Told} = ledger(Path),
    ?assertEqual(Events - Overwritten, Present),
    ?assertEqual(maps:get(no_segment, Dropped, 0), Told).

%% Nothing may be given up: events are dropped while the disk is full, and taken
%% again when it is not. Nobody waits, and it is said once.
a_stream_that_keeps_the_first_goes_on_when_there_is_room(Config) ->
    Dir = small_disk(?config(dir, Config), ?STREAM_DISK_BYTES),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => warning, config => #{to => self()}}),
    {ok, #{path := Path} = Session} = stream(Dir, #{at_cap => stop}),
    Filler = filename:join(Dir, "filler"),
    fill(Filler),
    ok = until_dropping(Session),
    #{phase := recording, events := Full} = spoor:status(Session),
    %% Longer than the recording takes to look after itself, twice.
    timer:sleep(2_500),
    ?assertMatch([_], logged(Path)),
    ok = file:delete(Filler),
    %% More than the chunks that threads still hold.
    ok = until_more(Session, Full + 50 * ?STEP),
    #{dropped := #{no_segment := InBetween}} = spoor:status(Session),
    {ok, #{events := Events, overwritten := 0, dropped := #{no_segment := Dropped}}} = spoor:stop(Session),
    ok = logger:remove_handler(?MODULE),
    ?assert(Events > Full + 50 * ?STEP),
    ?assertEqual(InBetween, Dropped),
    ?assertEqual({Events, Dropped}, ledger(Path)),
    ?assertEqual([], logged(Path)).

%%% Workload

%% One call event for each turn.
work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

start(Dir, Ring) ->
    spoor:start({?MODULE, work, 1}, #{dir => Dir, ring => Ring, procs => [self()]}).

stream(Dir, Options) ->
    Stream = #{dir => Dir, stream => 512 * ?MIB, segment => ?MIB, time => infinity, procs => [self()]},
    spoor:start({?MODULE, work, 1}, maps:merge(Stream, Options)).

%% So many times so many events, with time for the disk between.
paced(0) -> ok;
paced(Times) ->
    ok = work(?STEP - 1),
    timer:sleep(2),
    paced(Times - 1).

%% Works until events are dropped.
until_dropping(Session) ->
    ok = paced(10),
    case spoor:status(Session) of
        #{dropped := #{no_segment := _}} -> ok;
        #{} -> until_dropping(Session)
    end.

until_more(Session, Events) ->
    ok = paced(10),
    case spoor:status(Session) of
        #{events := More} when More > Events -> ok;
        #{} -> until_more(Session, Events)
    end.

%% What the file holds, and what it says was dropped.
ledger(Path) ->
    #{<<"ledger">> := #{<<"present">> := Present, <<"dropped">> := Dropped}} =
        spoor_reading:json("info", [Path]),
    {Present, Dropped}.

%% @doc A logger handler that tells the test.
log(#{msg := Message}, #{config := #{to := Pid}}) ->
    Text =
        case Message of
            {string, String} -> String;
            {report, Report} -> io_lib:format("~p", [Report]);
            {Format, Args} -> io_lib:format(Format, Args)
        end,
    Pid ! {logged, unicode:characters_to_binary(Text)},
    ok.

%% What was logged of the recording since it was asked last.
logged(Path) ->
    receive
        {logged, Text} ->
            case binary:match(Text, filename:basename(Path)) of
                nomatch -> logged(Path);
                _ -> [Text | logged(Path)]
            end
    after 0 -> []
    end.

fits(Dir, Ring) ->
    case start(Dir, Ring) of
        {ok, Session} ->
            ok = work(1000),
            {ok, _} = spoor:stop(Session),
            %% A directory that is new is looked through beside, and a file that is
            %% open there keeps its blocks: by the answer that is over.
            _ = spoor:crashed(),
            [File] = recordings(Dir),
            ok = file:delete(File),
            recorded;
        {error, {no_space, _, _}} ->
            ?assertEqual([], recordings(Dir)),
            no_space
    end.

recordings(Dir) ->
    filelib:wildcard(filename:join(Dir, "*")).

mode(Path) ->
    {ok, #file_info{mode = Mode}} = file:read_file_info(Path),
    Mode band 8#777.

%%% Disks

too_large(true, Dir) -> {small_disk(Dir), 4 * ?SMALL_DISK_BYTES};
too_large(false, _Dir) ->
    Dir = filename:join("/dev/shm", "spoor-disk-" ++ os:getpid()),
    {Dir, disk_bytes("/dev/shm") + 64 * ?MIB}.

small_disk(Dir) ->
    small_disk(Dir, ?SMALL_DISK_BYTES).

small_disk(Dir, Bytes) ->
    [] = mount_tmpfs(Dir, "size=" ++ integer_to_list(Bytes)),
    Dir.

forbid_writing(true, Dir) ->
    [] = mount_tmpfs(Dir, "ro,size=64k"),
    erofs;
forbid_writing(false, Dir) ->
    ok = file:change_mode(Dir, 8#500),
    eacces.

fill(File) ->
    {ok, Fd} = file:open(File, [write, raw]),
    Block = binary:copy(<<0>>, 4096),
    {error, enospc} = write_all(Fd, Block),
    ok = file:close(Fd).

write_all(Fd, Block) ->
    case file:write(Fd, Block) of
        ok -> write_all(Fd, Block);
        Error -> Error
    end.

can_mount() ->
    Dir = filename:join("/tmp", "spoor-mount-" ++ os:getpid()),
    ok = filelib:ensure_path(Dir),
    Can = mount_tmpfs(Dir, "size=64k") =:= [] andalso is_mounted(Dir),
    _ = Can andalso sh("umount -l", Dir),
    ok = file:del_dir(Dir),
    Can.

mount_tmpfs(Dir, Options) ->
    sh("mount -t tmpfs -o mode=0700," ++ Options ++ " spoor", Dir).

is_mounted(Dir) ->
    os:cmd("mountpoint -q '" ++ Dir ++ "' && echo yes") =:= "yes\n".

disk_bytes(Dir) ->
    [_, Line | _] = string:lexemes(os:cmd("df -Pk '" ++ Dir ++ "'"), "\n"),
    [_, Kib | _] = string:lexemes(Line, " "),
    list_to_integer(Kib) * 1024.

%% Runs a command on a path and answers what it printed: nothing if all is well.
sh(Command, Path) ->
    os:cmd(Command ++ " '" ++ Path ++ "' 2>&1").
