%% @doc What a recording may not leave behind, looked up in the VM and in the
%% operating system.
-module(spoor_leftovers).

-include_lib("stdlib/include/assert.hrl").

-export([assert_none/1, assert_untraced/1, eventually/1, eventually/2, is_session_vm/0]).

%% @doc Nothing traces, the file is not mapped, not open, and stays as it is.
-spec assert_none(binary()) -> ok.
assert_none(Path) ->
    eventually(fun() -> tracers() =:= [] end),
    eventually(fun() -> sessions() =:= [] end),
    ?assertEqual(nomatch, binary:match(read("/proc/self/maps"), Path)),
    %% Who looks for what dead VMs left has it open for a moment.
    eventually(fun() -> not lists:member(Path, open_files()) end),
    Before = erlang:md5(read(Path)),
    _ = [spawn(fun() -> lists:seq(1, 100) end) || _ <- lists:seq(1, 50)],
    timer:sleep(20),
    ?assertEqual(Before, erlang:md5(read(Path))).

%% @doc No breakpoint of anybody is left on these functions.
-spec assert_untraced([mfa()]) -> ok.
assert_untraced(Functions) ->
    [?assertEqual({F, {traced, false}}, {F, erlang:trace_info(F, traced)}) || F <- Functions],
    ok.

%% @doc Waits for what the VM does a little later, two seconds at most.
-spec eventually(fun(() -> boolean())) -> ok.
eventually(Holds) -> eventually(Holds, 100).

%% @doc The same, asked so often, 20 ms apart.
-spec eventually(fun(() -> boolean()), non_neg_integer()) -> ok.
eventually(Holds, 0) -> ?assert(Holds());
eventually(Holds, Times) ->
    case Holds() of
        true -> ok;
        false -> timer:sleep(20), eventually(Holds, Times - 1)
    end.

-spec is_session_vm() -> boolean().
is_session_vm() ->
    spoor_tracing:is_session_api(spoor_tracing:api()).

tracers() ->
    All = [new_processes, new_ports | processes() ++ erlang:ports()],
    [{T, S} || T <- All, {spoor_tracer, S} <- [spoor_tracing:tracer_of(T)]].

sessions() ->
    case spoor_tracing:api() of
        {session, Api} -> [Name || {Name, _} <- Api:session_info(all), is_ours(Name)];
        legacy -> []
    end.

is_ours(Name) -> lists:prefix("spoor_", atom_to_list(Name)).

open_files() ->
    {ok, Numbers} = file:list_dir("/proc/self/fd"),
    [unicode:characters_to_binary(Target) || N <- Numbers, {ok, Target} <- [file:read_link("/proc/self/fd/" ++ N)]].

read(Path) ->
    {ok, Bytes} = file:read_file(Path),
    Bytes.
