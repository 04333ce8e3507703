%% @doc A disk without room and a directory without permission are answers of
%% spoor:start/2, never a signal that ends the node later.
%%
%% The cases that need a file system of their own mount a small tmpfs. Where
%% that is not allowed (no root, or a container), the full disk is a recording
%% larger than all of /dev/shm, and the read-only file system a directory mode.
-module(spoor_disk_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0]).
-export([init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    a_full_disk_is_an_error_at_start/1,
    a_directory_that_cannot_be_written_is_an_error_at_start/1,
    a_path_below_a_file_is_an_error_at_start/1,
    a_missing_directory_is_made_for_its_owner_only/1,
    every_size_up_to_the_last_block/1,
    a_disk_that_fills_up_later_does_not_matter/1
]).
-export([work/1]).

-define(MIB, (1024 * 1024)).
-define(SMALL_DISK_BYTES, (4 * ?MIB)).

all() ->
    case can_mount() of
        true -> [{group, anywhere}, {group, own_disk}];
        false -> [{group, anywhere}]
    end.

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
            a_disk_that_fills_up_later_does_not_matter
        ]}
    ].

init_per_suite(Config) ->
    {ok, Started} = application:ensure_all_started(spoor),
    [{started, Started}, {can_mount, can_mount()} | Config].

end_per_suite(Config) ->
    [ok = application:stop(App) || App <- lists:reverse(?config(started, Config))],
    ok.

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
    ?assertEqual([no_space], lists:usort(TooLarge)).

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

%%% Workload

%% One call event for each turn.
work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

start(Dir, Ring) ->
    spoor:start({?MODULE, work, 1}, #{dir => Dir, ring => Ring, procs => [self()]}).

fits(Dir, Ring) ->
    case start(Dir, Ring) of
        {ok, Session} ->
            ok = work(1000),
            {ok, _} = spoor:stop(Session),
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
    [] = mount_tmpfs(Dir, "size=" ++ integer_to_list(?SMALL_DISK_BYTES)),
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
