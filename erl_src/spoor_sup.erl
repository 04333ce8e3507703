%% @doc The registry of recordings, and below it the recordings, one process each.
%% When the registry goes, so do the recordings: it knows what must be cleaned up.
%% Beside them, who looks for recordings that VMs before this one left: begun again with
%% the registry, and by itself when it dies, but not for ever. Recordings go on without it.
%% Every process below is sensitive: nothing of ours is ever traced.
-module(spoor_sup).
-behaviour(supervisor).

-export([start_link/0, start_recording/0]).
-export([init/1]).

-define(RECORDINGS, spoor_recording_sup).
-define(ADOPTION, spoor_adoption_sup).
%% A recording that is told to shut down turns tracing off and completes its file.
-define(CLOSE_MS, 15_000).

%% @doc Starts the tree.
-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, all).

%% @doc Starts a process for a recording; it does nothing before it is told.
-spec start_recording() -> {ok, pid()} | {error, term()}.
start_recording() ->
    case supervisor:start_child(?RECORDINGS, []) of
        {ok, Pid} when is_pid(Pid) -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.

%% @private
-spec init(all | recordings | adoption) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(all) ->
    _ = process_flag(sensitive, true),
    Children = [
        #{id => spoor_registry, start => {spoor_registry, start_link, []}},
        #{
            id => ?RECORDINGS,
            start => {supervisor, start_link, [{local, ?RECORDINGS}, ?MODULE, recordings]},
            type => supervisor
        },
        %% The last: its end takes nobody with it. Transient: having tried often enough it
        %% ends as if told to, and that is all.
        #{
            id => ?ADOPTION,
            start => {supervisor, start_link, [?MODULE, adoption]},
            restart => transient,
            type => supervisor
        }
    ],
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10}, Children}};
init(recordings) ->
    _ = process_flag(sensitive, true),
    Recording = #{
        id => recording,
        start => {spoor_recording, start_link, []},
        restart => temporary,
        shutdown => ?CLOSE_MS
    },
    {ok, {#{strategy => simple_one_for_one}, [Recording]}};
init(adoption) ->
    _ = process_flag(sensitive, true),
    Adoption = #{
        id => spoor_adoption,
        start => {spoor_adoption, start_link, []},
        shutdown => brutal_kill
    },
    {ok, {#{strategy => one_for_one, intensity => 3, period => 60}, [Adoption]}}.
