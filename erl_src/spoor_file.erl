%% @doc Where recordings go and what their files are called.
-module(spoor_file).

-include_lib("kernel/include/file.hrl").

-export([path/1, directory/1, usual/0, own_directory/1, snapshot_path/2, next_snapshot/1, is_gone/1, text/1]).

%% @doc The path of a new recording: `spoor-NODE-UTC-OSPID-N.spoor', another one
%% each time.
-spec path(file:filename_all() | undefined) -> {ok, binary()} | {error, {dir_unwritable, binary(), file:posix()}}.
path(Asked) ->
    Number = erlang:unique_integer([positive, monotonic]),
    Name = io_lib:format("spoor-~ts-~ts-~ts-~b.spoor", [node_name(), utc(), os:getpid(), Number]),
    Dir = directory(Asked),
    case Dir =/= temporary() orelse own_directory(Dir) of
        {error, Posix} -> {error, {dir_unwritable, to_binary(Dir), Posix}};
        _Ours -> {ok, to_binary(filename:join(Dir, unicode:characters_to_list(Name)))}
    end.

%% @doc Makes the directory and sees that it is this user's. Anybody can make one of
%% this name in `/tmp' before we do, or a link: so it is made first, which follows
%% no link, and looked at then. Nobody else can replace it, once it is ours.
-spec own_directory(file:filename_all()) -> ok | {error, file:posix()}.
own_directory(Dir) ->
    case file:make_dir(Dir) of
        Made when Made =:= ok; Made =:= {error, eexist} -> is_own(file:read_link_info(Dir), Dir);
        {error, _} = Error -> Error
    end.

-spec is_own({ok, file:file_info()} | {error, file:posix()}, file:filename_all()) -> ok | {error, file:posix()}.
is_own({ok, #file_info{type = directory, uid = Uid, mode = Mode}}, Dir) ->
    case {integer_to_list(Uid) =:= user_id(), Mode band 8#777} of
        {false, _} -> {error, eperm};
        {true, 8#700} -> ok;
        {true, _} -> file:change_mode(Dir, 8#700)
    end;
is_own({ok, _Link}, _Dir) ->
    {error, eperm};
is_own({error, _} = Error, _Dir) ->
    Error.

%% @doc The directory asked for, else the first that is set: `SPOOR_DIR', the
%% application's `dir', `$RELEASE_TMP/spoor', the place of the crash dump, and a
%% directory of the user's own below `/tmp'. Never where the node happens to run.
-spec directory(file:filename_all() | undefined) -> file:filename_all().
directory(undefined) ->
    Places = [
        fun() -> os:getenv("SPOOR_DIR", "") end,
        fun() -> application:get_env(spoor, dir, "") end,
        fun() -> below(os:getenv("RELEASE_TMP", ""), "spoor") end,
        fun() -> directory_of(os:getenv("ERL_CRASH_DUMP", "")) end,
        fun temporary/0
    ],
    directory(first(Places));
directory(Dir) ->
    filename:absname(Dir).

%% @doc Where recordings of VMs before this one may be: the directory of those without
%% `dir', if it is there. It is not made, and that in `/tmp' must be this user's.
-spec usual() -> {ok, binary()} | none.
usual() ->
    Dir = directory(undefined),
    case file:read_link_info(Dir) of
        {ok, #file_info{uid = Uid, type = Type}} ->
            Own = Type =:= directory andalso integer_to_list(Uid) =:= user_id(),
            case Own orelse Dir =/= temporary() of
                true -> {ok, to_binary(Dir)};
                false -> none
            end;
        {error, _} ->
            none
    end.

-spec first([fun(() -> file:filename_all()), ...]) -> file:filename_all().
first([Place | Rest]) ->
    case Place() of
        Empty when Empty =:= ""; Empty =:= <<>> -> first(Rest);
        Dir -> Dir
    end.

-spec below(string(), string()) -> string().
below("", _Name) -> "";
below(Dir, Name) -> filename:join(Dir, Name).

%% A crash dump in the working directory says nothing about where to write.
-spec directory_of(string()) -> string().
directory_of(File) ->
    case filename:pathtype(File) of
        absolute -> filename:dirname(File);
        _ -> ""
    end.

-spec temporary() -> string().
temporary() -> "/tmp/spoor-" ++ user_id().

-spec user_id() -> string().
user_id() ->
    case file:read_file_info("/proc/self") of
        {ok, #file_info{uid = Uid}} when is_integer(Uid) -> integer_to_list(Uid);
        _ -> "user"
    end.

%% @doc The path of the `Nth' copy of a recording, beside it.
-spec snapshot_path(file:filename_all(), pos_integer()) -> binary().
snapshot_path(Path, N) ->
    Base = to_binary(filename:rootname(Path, ".spoor")),
    <<Base/binary, "-snap-", (integer_to_binary(N))/binary, ".spoor">>.

%% @doc The number of a recording's next copy: behind those of all that are there. To try
%% one name after the other would cost a visit to the disk for each.
-spec next_snapshot(file:filename_all()) -> pos_integer().
next_snapshot(Path) ->
    Prefix = <<(filename:basename(to_binary(Path), <<".spoor">>))/binary, "-snap-">>,
    Names =
        case file:list_dir(filename:dirname(Path)) of
            {ok, All} -> [Name || Name <- All, is_list(Name)];
            {error, _} -> []
        end,
    1 + lists:max([0 | [snapshot_number(unicode:characters_to_binary(Name), Prefix) || Name <- Names]]).

-spec snapshot_number(binary(), binary()) -> non_neg_integer().
snapshot_number(Name, Prefix) ->
    Size = byte_size(Prefix),
    case Name of
        <<Prefix:Size/binary, Rest/binary>> ->
            case string:to_integer(Rest) of
                {N, _} when is_integer(N), N > 0 -> N;
                _ -> 0
            end;
        _ ->
            0
    end.

%% Only what is harmless in a file name.
-spec node_name() -> string().
node_name() ->
    [
        case is_plain(C) of
            true -> C;
            false -> $_
        end
     || C <- atom_to_list(node())
    ].

-spec is_plain(char()) -> boolean().
is_plain(C) ->
    (C >= $a andalso C =< $z) orelse (C >= $A andalso C =< $Z) orelse
        (C >= $0 andalso C =< $9) orelse lists:member(C, "@._-").

-spec utc() -> io_lib:chars().
utc() ->
    {{Y, Mo, D}, {H, Mi, S}} = calendar:universal_time(),
    io_lib:format("~4..0b~2..0b~2..0bT~2..0b~2..0b~2..0bZ", [Y, Mo, D, H, Mi, S]).

-spec to_binary(file:filename_all()) -> binary().
to_binary(Path) when is_binary(Path) -> Path;
to_binary(Path) -> unicode:characters_to_binary(Path).

%% @doc Is a recording not to be had any more: a ring, or a stream without its head? Below
%% a ring, which is no directory, there is nothing either, but for another reason.
-spec is_gone(binary()) -> boolean().
is_gone(Path) ->
    file:read_link_info(filename:join(Path, <<"head.spoor">>)) =:= {error, enoent}.

%% @doc The path for people. Bytes that are no UTF-8 are shown as a shell takes them
%% between `$'' and `''.
-spec text(binary()) -> binary().
text(Path) ->
    case unicode:characters_to_list(Path) of
        Text when is_list(Text) -> Path;
        _NoText -> << <<(byte_text(Byte))/binary>> || <<Byte>> <= Path >>
    end.

-spec byte_text(byte()) -> binary().
byte_text(Byte) when Byte < 32; Byte > 126; Byte =:= $\'; Byte =:= $\\ ->
    iolist_to_binary(io_lib:format("\\x~2.16.0B", [Byte]));
byte_text(Byte) ->
    <<Byte>>.
