%% @doc Files are their owner's alone from the moment they exist, wherever they
%% are, and a path is bytes in whatever encoding.
-module(spoor_file_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    what_is_there_already_is_not_written/1,
    a_directory_is_made_private/1,
    a_directory_of_somebody_else_is_refused/1,
    a_link_is_refused/1,
    a_path_that_is_no_text/1,
    an_error_about_a_path_that_is_no_text/1
]).
-export([work/1]).

all() ->
    [
        what_is_there_already_is_not_written, a_directory_is_made_private,
        a_directory_of_somebody_else_is_refused, a_link_is_refused, a_path_that_is_no_text,
        an_error_about_a_path_that_is_no_text
    ].

init_per_testcase(Case, Config) ->
    {ok, _} = application:ensure_all_started(spoor),
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = filelib:ensure_path(Dir),
    [{dir, Dir} | Config].

end_per_testcase(_Case, _Config) ->
    ?assertEqual([], spoor:status()),
    application:stop(spoor).

%%% Cases

what_is_there_already_is_not_written(Config) ->
    {ok, #{id := Id, path := Path} = Session} = start(?config(dir, Config)),
    [File, Link, Missing] = [in(Name, Config) || Name <- ["x", "link", "missing/x"]],
    ok = file:write_file(File, "something"),
    ok = file:make_symlink(in("nothing", Config), Link),
    Copy = fun(To) -> spoor_tracer:copy(Id, list_to_binary(To), 0, self()) end,
    ?assertEqual([{error, eexist}, {error, eexist}, {error, enoent}], [Copy(To) || To <- [File, Link, Missing]]),
    ?assertEqual({ok, <<"something">>}, file:read_file(File)),
    ?assertNot(filelib:is_file(in("nothing", Config))),
    %% Nor is what stands where the next copy would go.
    ok = file:make_symlink(in("nothing", Config), spoor_file:snapshot_path(Path, 1)),
    {ok, #{path := Second}} = spoor:snapshot(Session),
    ?assertEqual(spoor_file:snapshot_path(Path, 2), Second),
    ?assertEqual(8#600, mode(Second)),
    %% A name that was free before is not looked for.
    ok = file:delete(spoor_file:snapshot_path(Path, 1)),
    {ok, #{path := Third}} = spoor:snapshot(Session),
    ?assertEqual(spoor_file:snapshot_path(Path, 3), Third),
    {ok, _} = spoor:stop(Session).

a_directory_is_made_private(Config) ->
    Dir = in("own", Config),
    ok = spoor_file:own_directory(Dir),
    ?assertEqual(8#700, mode(Dir)),
    ok = file:change_mode(Dir, 8#777),
    ok = spoor_file:own_directory(Dir),
    ?assertEqual(8#700, mode(Dir)).

%% Only root can give a directory away; for others, that of root serves.
a_directory_of_somebody_else_is_refused(Config) ->
    Dir = in("theirs", Config),
    ok = file:make_dir(Dir),
    Theirs =
        case file:change_owner(Dir, 12345) of
            ok -> Dir;
            {error, eperm} -> "/"
        end,
    ?assertEqual({error, eperm}, spoor_file:own_directory(Theirs)).

a_link_is_refused(Config) ->
    [Dir, Link, Dangling, File] = [in(Name, Config) || Name <- ["d", "link", "dangling", "file"]],
    ok = file:make_dir(Dir),
    ok = file:make_symlink(Dir, Link),
    ok = file:make_symlink(in("nothing", Config), Dangling),
    ok = file:write_file(File, ""),
    ?assertEqual([{error, eperm}], lists:usort([spoor_file:own_directory(At) || At <- [Link, Dangling, File]])),
    ?assertNot(filelib:is_file(in("nothing", Config))).

%% The command that is recommended finds the file, as a shell reads it.
a_path_that_is_no_text(Config) ->
    Dir = no_text(Config),
    {ok, #{path := Path} = Session} = start(Dir),
    ok = work(10),
    ?assertEqual(Dir, filename:dirname(Path)),
    ?assertMatch(#{path := Path}, spoor:status(Session)),
    {ok, #{path := Copy}} = spoor:snapshot(Session),
    ?assertEqual(Dir, filename:dirname(Copy)),
    {ok, #{path := Path, next := Next, text := Text}} = spoor:stop(Session),
    ?assert(is_list(unicode:characters_to_list(Text))),
    ?assertEqual(lists:sort([filename:basename(Path), filename:basename(Copy)]), names(Dir)),
    <<"spoor calls ", Argument/binary>> = Next,
    Script = in("script", Config),
    ok = file:write_file(Script, ["wc -c < ", Argument, "\n"]),
    ?assertEqual(filelib:file_size(Path), list_to_integer(string:trim(os:cmd("bash '" ++ Script ++ "'")))).

an_error_about_a_path_that_is_no_text(Config) ->
    File = no_text(Config),
    ok = file:write_file(File, ""),
    {error, {dir_unwritable, Named, enotdir} = Reason} = start(<<File/binary, "/below">>),
    ?assertEqual(<<File/binary, "/below">>, Named),
    ?assertNotEqual(nomatch, string:find(spoor:format_error(Reason), "\\xFF")).

%%% What they share

work(0) -> ok;
work(N) -> ?MODULE:work(N - 1).

start(Dir) ->
    spoor:start({?MODULE, work, 1}, #{dir => Dir, ring => 1024 * 1024, procs => [self()]}).

in(Name, Config) -> filename:join(?config(dir, Config), Name).

no_text(Config) -> <<(list_to_binary(in("it's ", Config)))/binary, 255, " \\">>.

names(Dir) ->
    {ok, Names} = file:list_dir_all(Dir),
    lists:sort([iolist_to_binary(Name) || Name <- Names]).

mode(Path) ->
    {ok, #file_info{mode = Mode}} = file:read_file_info(Path),
    Mode band 8#777.
