%% @doc Copies a window of a recording that goes on. The copying is done by a thread
%% of the recorder; here is who asks for it, waits, and gives the copy its name.
-module(spoor_snapshot).

-export([take/2]).

-export_type([snapshot/0]).

-type snapshot() :: #{
    path := binary(),
    %% Size of the file and events in it.
    bytes := non_neg_integer(),
    events := non_neg_integer(),
    %% Chunks of events in it; those left out because they ended before the window
    %% began, and those overwritten while they were copied.
    chunks := non_neg_integer(),
    earlier := non_neg_integer(),
    overtaken := non_neg_integer(),
    %% Of the recording: events no more in it, and those never stored too.
    overwritten := non_neg_integer(),
    lost := non_neg_integer(),
    %% Milliseconds of the window, up to its end, that the recording still held: less than
    %% `last' when it began later, or had overwritten the rest.
    covered := non_neg_integer(),
    %% Milliseconds; the window ends when the copy began, `post' after the call.
    last := pos_integer() | infinity,
    post := non_neg_integer(),
    reason := term()
}.

%% @doc Copies it to `NAME-snap-N.spoor' beside it. What the copy was made for
%% stands in it as a remark.
-spec take(spoor:session(), term()) -> {ok, snapshot()} | {error, spoor:reason()}.
take(#{id := Id, pid := Pid, path := Path}, Given) ->
    case spoor_options:parse(Given, [last, post, reason]) of
        {ok, Options} -> take(Id, Pid, Path, maps:with([last, post, reason], Options));
        {error, _} = Error -> Error
    end.

-spec take(spoor:id(), pid(), binary(), map()) -> {ok, snapshot()} | {error, spoor:reason()}.
take(Id, Pid, Path, #{last := Last, post := Post, reason := Reason} = Asked) ->
    case ended_within(Pid, Post) orelse spoor_tracer:note(Id, snapshot, {Reason, Last, Post}) of
        ok -> copy(Id, Path, Asked);
        true -> {error, not_recording};
        {error, closed} -> {error, not_recording};
        {error, _} = Error -> Error
    end.

%% Does the recording end in the time after the call that was asked for, too?
-spec ended_within(pid(), non_neg_integer()) -> boolean().
ended_within(_Pid, 0) ->
    false;
ended_within(Pid, Ms) ->
    Monitor = monitor(process, Pid),
    receive
        {'DOWN', Monitor, process, Pid, _} -> true
    after Ms ->
        _ = demonitor(Monitor, [flush]),
        false
    end.

-spec copy(spoor:id(), binary(), map()) -> {ok, snapshot()} | {error, spoor:reason()}.
copy(Id, Path, #{last := Last} = Asked) ->
    case begin_copy(Id, Path, last_ms(Last), spoor_file:next_snapshot(Path)) of
        {ok, Copy, Part} ->
            receive
                {spoor_tracer, Id, {copied, Part, Answer}} -> finish(Answer, Copy, Part, maps:merge(Asked, lost(Id)))
            end;
        {error, _Copy, closed} ->
            {error, not_recording};
        {error, Copy, Posix} ->
            {error, {file_error, Copy, Posix}}
    end.

%% A free name from the `Nth' on, taken by making the file that is written first.
-spec begin_copy(spoor:id(), binary(), non_neg_integer(), pos_integer()) ->
    {ok, binary(), binary()} | {error, binary(), atom()}.
begin_copy(Id, Path, LastMs, N) ->
    Copy = spoor_file:snapshot_path(Path, N),
    Part = <<Copy/binary, ".part">>,
    case is_taken(Copy) orelse spoor_tracer:copy(Id, Part, LastMs, self()) of
        ok -> {ok, Copy, Part};
        {error, Posix} when Posix =/= eexist -> {error, Copy, Posix};
        _Taken -> begin_copy(Id, Path, LastMs, N + 1)
    end.

-spec is_taken(binary()) -> boolean().
is_taken(Copy) ->
    file:read_link_info(Copy) =/= {error, enoent}.

%% Nobody sees a half-made copy under its name.
-spec finish({ok, spoor_tracer:copied()} | {error, atom()}, binary(), binary(), map()) ->
    {ok, snapshot()} | {error, spoor:reason()}.
finish({ok, Copied}, Copy, Part, Facts) ->
    case file:rename(Part, Copy) of
        ok -> {ok, maps:merge(Facts, Copied#{path => Copy})};
        {error, Posix} -> finish({error, Posix}, Copy, Part, Facts)
    end;
finish({error, closed}, _Copy, _Part, _Facts) ->
    {error, not_recording};
finish({error, Posix}, Copy, Part, _Facts) ->
    _ = file:delete(Part),
    {error, {file_error, Copy, Posix}}.

-spec last_ms(pos_integer() | infinity) -> non_neg_integer().
last_ms(infinity) -> 0;
last_ms(Ms) -> Ms.

-spec lost(spoor:id()) -> map().
lost(Id) ->
    case spoor_tracer:status(Id) of
        {ok, #{overwritten := Overwritten, dropped := Dropped}} ->
            #{overwritten => Overwritten, lost => Overwritten + lists:sum(maps:values(Dropped))};
        %% It ended meanwhile: its own summary says more.
        {error, _} ->
            #{overwritten => 0, lost => 0}
    end.
