%% @doc Which messages are those of requests: calls, casts, replies, and what tells
%% that there will be no reply. The VM itself tells them from all others.
-module(spoor_requests).

-export([match_spec/1, known/0, set/1]).

-export_type([match_spec/0]).

-type match_spec() :: [{[term()], [term()], [term()]}].

%% @doc For `trace:send/3', `trace:recv/3' or `erlang:trace_pattern/3'.
-spec match_spec(send | 'receive') -> match_spec().
match_spec(send) ->
    [{['_', Message], Guards, []} || {Message, Guards} <- messages()];
match_spec('receive') ->
    %% A `receive' that ran into its `after' comes as a message: so ends a call that
    %% waited too long.
    Others = [{{'DOWN', '$1', '_', '_', '_'}, [{is_reference, '$1'}]}, {timeout, []}],
    [{['_', '_', Message], Guards, []} || {Message, Guards} <- messages() ++ Others].

%% gen_server, gen_statem, gen_event, sys and tasks, as gen.erl sends them.
%% The VM's aliases are improper lists.
-dialyzer({no_improper_lists, messages/0}).
-spec messages() -> [{term(), [term()]}].
messages() ->
    [
        {{'$gen_call', {'_', '_'}, '_'}, []},
        {{'$gen_cast', '_'}, []},
        {{[alias | '_'], '_'}, []},
        {{[[alias | '_'] | '_'], '_'}, []},
        {{'$1', '_'}, [{is_reference, '$1'}]},
        %% Replies to a multi_call before OTP 27.
        {{{'$1', '$2'}, '_'}, [{is_reference, '$1'}, {is_atom, '$2'}]},
        {{'$1', {'$1', '_'}, '_'}, [{is_pid, '$1'}]},
        {{system, {'_', '_'}, '_'}, []}
    ].

%% @doc What the VM's own session knows of messages.
-spec known() -> [{send | 'receive', match_spec() | boolean()}].
known() ->
    [{Event, known(Event)} || Event <- [send, 'receive']].

-spec known(send | 'receive') -> match_spec() | boolean().
known(Event) ->
    case erlang:trace_info(Event, match_spec) of
        {match_spec, Spec} when is_list(Spec), Spec =/= [] -> Spec;
        {match_spec, false} -> false;
        {match_spec, _Nothing} -> true
    end.

%% @doc Tells the VM's own session.
-spec set([{send | 'receive', match_spec() | boolean()}]) -> ok.
set(Specs) ->
    lists:foreach(fun({Event, Spec}) -> erlang:trace_pattern(Event, Spec, []) end, Specs).
