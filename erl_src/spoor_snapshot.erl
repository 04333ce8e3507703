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
    {Copy, Part} = free_name(Path, 1),
    case copy_file(Path, Part) of
        {ok, Bytes} ->
            ok = file:rename(Part, Copy),
            {ok, maps:merge(Asked#{path => Copy, bytes => Bytes}, counts(Id))};
        {error, Posix} ->
            _ = file:delete(Part),
            {error, {file_error, Copy, Posix}}
    end.

%% The name is taken by the file that is written first.
-spec free_name(binary(), pos_integer()) -> {binary(), binary()}.
free_name(Path, N) ->
    Copy = spoor_file:snapshot_path(Path, N),
    Part = <<Copy/binary, ".part">>,
    case filelib:is_file(Copy) orelse file:open(Part, [write, exclusive, raw]) of
        {ok, File} ->
            ok = file:close(File),
            _ = file:change_mode(Part, 8#600),
            {Copy, Part};
        {error, Other} when Other =/= eexist ->
            %% Copying will meet the same error, and say so.
            {Copy, Part};
        _Taken ->
            free_name(Path, N + 1)
    end.

-spec copy_file(binary(), binary()) -> {ok, non_neg_integer()} | {error, atom()}.
copy_file(From, To) ->
    file:copy({From, [read, raw, binary]}, {To, [write, raw, binary]}).

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
