%% @doc Copies a recording that goes on. The copy is made while events are
%% written; chunks carry numbers and checksums, so a reader sees those that
%% changed under the copying hand.
-module(spoor_snapshot).

-include_lib("kernel/include/file.hrl").

-export([take/2]).

-export_type([snapshot/0]).

-type snapshot() :: #{
    path := binary(),
    bytes := non_neg_integer(),
    events := non_neg_integer(),
    overwritten := non_neg_integer(),
    lost := non_neg_integer(),
    last := pos_integer() | infinity,
    reason := term()
}.

%% @doc Copies it to `NAME-snap-N.spoor' beside it. What the copy was made for
%% stands in it as a remark.
-spec take(spoor:session(), term()) -> {ok, snapshot()} | {error, spoor:reason()}.
take(#{id := Id, path := Path}, Given) ->
    case spoor_options:parse(Given, [last, reason]) of
        {ok, #{last := Last, reason := Reason}} ->
            case spoor_tracer:note(Id, snapshot, {Reason, Last}) of
                ok -> copy(Id, Path, #{last => Last, reason => Reason});
                {error, closed} -> {error, not_recording};
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

-spec copy(spoor:id(), binary(), map()) -> {ok, snapshot()} | {error, spoor:reason()}.
copy(Id, Path, Asked) ->
    case filelib:is_dir(Path) orelse create(Path, 1) of
        true ->
            {error, no_snapshots};
        {ok, Copy, Part, File} ->
            Copied = copy_into(Path, File),
            finish(Copied, Copy, Part, fun() -> maps:merge(Asked, counts(Id)) end);
        {error, Copy, Posix} ->
            {error, {file_error, Copy, Posix}}
    end.

%% Nobody sees a half-made copy under its name.
-spec finish({ok, non_neg_integer()} | {error, atom()}, binary(), binary(), fun(() -> map())) ->
    {ok, snapshot()} | {error, spoor:reason()}.
finish({ok, Bytes}, Copy, Part, Facts) ->
    ok = file:rename(Part, Copy),
    {ok, (Facts())#{path => Copy, bytes => Bytes}};
finish({error, Posix}, Copy, Part, _Facts) ->
    _ = file:delete(Part),
    {error, {file_error, Copy, Posix}}.

%% The first free name, taken by making the file that is written first.
-spec create(binary(), pos_integer()) -> {ok, binary(), binary(), file:fd()} | {error, binary(), atom()}.
create(Path, N) ->
    Copy = spoor_file:snapshot_path(Path, N),
    Part = <<Copy/binary, ".part">>,
    case filelib:is_file(Copy) orelse open(Part, spoor_tracer:create(Part)) of
        {ok, File} -> {ok, Copy, Part, File};
        {error, Posix} when is_atom(Posix), Posix =/= eexist -> {error, Copy, Posix};
        _Taken -> create(Path, N + 1)
    end.

%% It is there already, and its owner's alone.
-spec open(binary(), ok | {error, term()}) -> {ok, file:fd()} | {error, term()}.
open(Part, ok) -> file:open(Part, [read, write, raw, binary]);
open(_Part, {error, _} = Error) -> Error.

-spec copy_into(binary(), file:fd()) -> {ok, non_neg_integer()} | {error, atom()}.
copy_into(From, To) ->
    Copied = file:copy({From, [read, raw, binary]}, To),
    Closed = file:close(To),
    case {Copied, Closed} of
        {{ok, Bytes}, ok} -> {ok, Bytes};
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

-spec counts(spoor:id()) -> map().
counts(Id) ->
    case spoor_tracer:status(Id) of
        {ok, #{events := Events, overwritten := Overwritten, dropped := Dropped}} ->
            Lost = Overwritten + lists:sum(maps:values(Dropped)),
            #{events => Events, overwritten => Overwritten, lost => Lost};
        %% It ended while it was copied: its own summary says more.
        {error, _} ->
            #{events => 0, overwritten => 0, lost => 0}
    end.
