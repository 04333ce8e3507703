%% @doc What the user wants traced, checked and spelled out. Pure: looks at
%% nothing but its arguments, so that the same input gives the same plan on
%% every node. What depends on the VM it runs in is asked of
%% {@link spoor_hazard} and {@link spoor_tracing}.
-module(spoor_spec).

-export([plan/2, open/1, run/2]).
-export([text/1, patterns_text/1, pattern_text/1]).

-export_type([messages/0, what/0, preset/0, pattern/0, plan/0, flag/0, procs/0, error/0]).

-type preset() :: calls | scheduling | gc | requests | messages | full.
-type pattern() :: {module() | '_', atom(), arity() | '_'}.
-type user_pattern() ::
    module() | {module(), atom()} | {module(), atom(), arity() | '_'} | fun().
-type what() ::
    preset()
    | {calls, user_pattern() | [user_pattern()]}
    | user_pattern()
    | [preset() | {calls, user_pattern() | [user_pattern()]} | user_pattern()].
%% A list may hold presets and patterns: `[scheduling, my_server]'.

-type flag() ::
    call | return_to | arity | procs | running | exiting | garbage_collection
    | send | 'receive' | ports | running_ports | set_on_spawn.

-type procs() :: none | spoor_options:procs().

-type messages() :: all | requests.

-type plan() :: #{
    presets := [preset()],
    patterns := [pattern()],
    flags := [flag()],
    port_flags := [flag()],
    %% Which messages are traced, where any are.
    messages := messages(),
    procs := procs(),
    options := spoor_options:options()
}.

-type error() ::
    spoor_options:error()
    | {error, {bad_pattern, term()}}
    | {error, {too_broad, map()}}.

-define(OPEN_OPTIONS, [
    time, max_events, rate, function_rate, sample, max_cost, overload,
    ring, once, stream, segment, at_cap, compress, sync, dir, args, max_term_bytes, label, link
]).
-define(OPTIONS, [procs, force, running, set_on_spawn | ?OPEN_OPTIONS]).

%% @doc The plan of a recording that traces.
-spec plan(term(), term()) -> {ok, plan()} | error().
plan(What, Given) ->
    maybe_ok(spoor_options:parse(Given, ?OPTIONS), fun(Options) ->
        maybe_ok(parts(What), fun(Parts) -> spell_out(Parts, Options) end)
    end).

%% @doc The plan of a recording that traces nothing by itself.
-spec open(term()) -> {ok, plan()} | error().
open(Given) ->
    maybe_ok(spoor_options:parse(Given, ?OPEN_OPTIONS), fun(Options) ->
        {ok, #{
            presets => [], patterns => [], flags => [], port_flags => [], messages => all,
            procs => none, options => Options
        }}
    end).

%% @doc The plan of a recording of one call; `Default' is traced unless `what' is
%% given. Its process is put in when there is one.
-spec run(module(), term()) -> {ok, plan()} | error().
run(Default, Given) ->
    Allowed = [what | ?OPTIONS] -- [procs],
    maybe_ok(spoor_options:parse(Given, Allowed), fun(#{what := Asked} = Options) ->
        What =
            case Asked of
                undefined -> Default;
                _ -> Asked
            end,
        maybe_ok(parts(What), fun(Parts) -> spell_out(Parts, Options#{procs := []}) end)
    end).

%% @doc Patterns and presets as a text for people.
-spec text(plan()) -> binary().
text(#{presets := Presets, patterns := Patterns}) ->
    Items = [atom_to_list(P) || P <- Presets, P =/= calls] ++ [pattern_text(P) || P <- Patterns],
    unicode:characters_to_binary(lists:join(", ", Items)).

%% @doc The patterns of a plan alone: its presets are told apart from them.
-spec patterns_text(plan()) -> binary().
patterns_text(#{patterns := Patterns}) ->
    unicode:characters_to_binary(lists:join(", ", [pattern_text(P) || P <- Patterns])).

%% @doc A pattern as those write it who use it, in Erlang or Elixir.
-spec pattern_text(pattern()) -> iodata().
pattern_text({M, F, A}) ->
    Arity = [io_lib:format("/~w", [A]) || A =/= '_'],
    case {atom_to_list(M), F} of
        {"Elixir." ++ Module, '_'} -> [Module | Arity];
        {"Elixir." ++ Module, _} -> io_lib:format("~ts.~ts~ts", [Module, F, Arity]);
        {_, '_'} -> io_lib:format("~tw~ts", [M, Arity]);
        {_, _} -> io_lib:format("~tw:~tw~ts", [M, F, Arity])
    end.

-spec maybe_ok({ok, A} | {error, E}, fun((A) -> R)) -> R | {error, E}.
maybe_ok({ok, Value}, Next) -> Next(Value);
maybe_ok({error, _} = Error, _Next) -> Error.

%%% What

-spec parts(term()) -> {ok, {[preset()], [pattern()]}} | error().
parts(What) ->
    try [part(Item) || Item <- flatten(What)] of
        [] ->
            {error, {bad_pattern, What}};
        Parts ->
            Patterns = lists:usort([Part || Part <- Parts, is_tuple(Part)]),
            Presets = lists:usort([calls || Patterns =/= []] ++ [Part || Part <- Parts, is_atom(Part)]),
            has_patterns(Presets, Patterns)
    catch
        throw:{bad_pattern, _} = Reason -> {error, text_or(Reason, What)}
    end.

%% Of a text, that is what is wrong, not its first letter.
-spec text_or({bad_pattern, term()}, term()) -> {bad_pattern, term()}.
text_or(Reason, What) ->
    case What =/= [] andalso io_lib:char_list(What) of
        true -> {bad_pattern, What};
        false -> Reason
    end.

-spec part(preset() | {calls, term()}) -> preset() | pattern().
part({calls, Item}) -> pattern(Item);
part(Preset) -> Preset.

%% Functions to call are nothing that can be guessed.
-spec has_patterns([preset()], [pattern()]) -> {ok, {[preset()], [pattern()]}} | error().
has_patterns(Presets, Patterns) ->
    case lists:member(calls, Presets) andalso Patterns =:= [] of
        true -> {error, {bad_pattern, calls}};
        false -> {ok, {Presets, Patterns}}
    end.

-spec flatten(term()) -> [preset() | {calls, term()}].
flatten(Preset) when
    Preset =:= calls; Preset =:= scheduling; Preset =:= gc; Preset =:= requests;
    Preset =:= messages; Preset =:= full
->
    [Preset];
flatten({calls, List}) when is_list(List), length(List) >= 0 -> [{calls, Item} || Item <- List];
flatten({calls, Item}) -> [{calls, Item}];
flatten(List) when is_list(List), length(List) >= 0 -> lists:append([flatten(Item) || Item <- List]);
flatten(Item) -> [{calls, Item}].

-spec pattern(term()) -> pattern().
pattern(M) when is_atom(M) -> {M, '_', '_'};
pattern({M, F}) when is_atom(M), is_atom(F) -> pattern({M, F, '_'});
%% The VM knows wildcards from the right only.
pattern({'_', F, A} = Pattern) when F =/= '_'; A =/= '_' -> throw({bad_pattern, Pattern});
pattern({_, '_', A} = Pattern) when A =/= '_' -> throw({bad_pattern, Pattern});
pattern({M, F, A}) when is_atom(M), is_atom(F), is_integer(A), A >= 0, A =< 255 -> {M, F, A};
pattern({M, F, '_'}) when is_atom(M), is_atom(F) -> {M, F, '_'};
pattern(Fun) when is_function(Fun) ->
    case erlang:fun_info(Fun, type) of
        {type, external} ->
            {module, M} = erlang:fun_info(Fun, module),
            {name, F} = erlang:fun_info(Fun, name),
            {arity, A} = erlang:fun_info(Fun, arity),
            {M, F, A};
        {type, local} ->
            throw({bad_pattern, Fun})
    end;
pattern(Other) ->
    throw({bad_pattern, Other}).

%%% Plan

-spec spell_out({[preset()], [pattern()]}, spoor_options:options()) -> {ok, plan()} | error().
spell_out({Presets, Patterns}, #{procs := Procs, force := Force} = Options) ->
    case Force orelse breadth(Presets, Patterns, Procs) of
        Narrow when Narrow =:= true; Narrow =:= narrow ->
            {ok, #{
                presets => Presets,
                patterns => Patterns,
                flags => flags(Presets, Patterns, Options),
                port_flags => port_flags(Presets, Procs),
                messages => messages(Presets),
                procs => Procs,
                options => Options
            }};
        {broad, Info} ->
            {error, {too_broad, Info}}
    end.

-spec breadth([preset()], [pattern()], procs()) -> narrow | {broad, map()}.
breadth(Presets, Patterns, Procs) ->
    case {lists:keyfind('_', 1, Patterns), Procs =:= all andalso lists:member(full, Presets)} of
        {{_, _, _} = Everything, _} -> {broad, #{pattern => Everything}};
        {false, true} -> {broad, #{preset => full, procs => all}};
        {false, false} -> narrow
    end.

-spec flags([preset()], [pattern()], spoor_options:options()) -> [flag()].
flags(Presets, Patterns, #{args := Args, running := Running, set_on_spawn := SetOnSpawn}) ->
    Calls = [[call, return_to] || Patterns =/= []],
    Arity = [arity || Patterns =/= [], Args =:= none],
    OfPresets = [preset_flags(Preset) || Preset <- Presets],
    Switches = [running || Running] ++ [set_on_spawn || SetOnSpawn],
    lists:usort(lists:append([Arity, Switches | Calls ++ OfPresets])).

-spec preset_flags(preset()) -> [flag()].
preset_flags(calls) -> [procs];
preset_flags(scheduling) -> [running, procs];
preset_flags(gc) -> [garbage_collection];
preset_flags(requests) -> [send, 'receive', procs];
preset_flags(messages) -> [send, 'receive', procs];
preset_flags(full) -> [send, 'receive', procs, running, exiting, garbage_collection].

%% Only those of requests, unless all are asked for too.
-spec messages([preset()]) -> messages().
messages(Presets) ->
    case lists:member(requests, Presets) andalso Presets -- [messages, full] =:= Presets of
        true -> requests;
        false -> all
    end.

%% Ports are traced where processes are not listed one by one.
-spec port_flags([preset()], procs()) -> [flag()].
port_flags(_Presets, Listed) when is_list(Listed) -> [];
port_flags(Presets, _Procs) ->
    OfPreset = #{messages => [send, 'receive'], full => [send, 'receive', ports, running_ports]},
    lists:usort(lists:append([maps:get(Preset, OfPreset, []) || Preset <- Presets])).
