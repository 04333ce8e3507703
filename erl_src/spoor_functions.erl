%% @doc The functions that a pattern names on this node, and why it names none.
-module(spoor_functions).

-export([resolve/1, probe/1, named/1, loaded/1, explain_none/1]).

-type pattern() :: spoor_spec:pattern().

%% @doc Loads what the patterns name and finds the first that names nothing.
%% Functions of a module that is not loaded cannot be traced, so each is loaded.
-spec resolve([pattern()]) -> ok | {error, {no_match, pattern()}}.
resolve(Patterns) ->
    case [Pattern || Pattern <- Patterns, not names_any(Pattern)] of
        [] -> ok;
        [Pattern | _] -> {error, {no_match, Pattern}}
    end.

-spec names_any(pattern()) -> boolean().
names_any({'_', _, _}) -> true;
names_any(Pattern) -> probe(Pattern) =/= none.

%% @doc One function that the pattern names; none for every module.
-spec probe(pattern()) -> mfa() | none.
probe(Pattern) ->
    case named(Pattern) of
        [Function | _] -> Function;
        [] -> none
    end.

%% @doc The functions that the pattern names; none for every module.
-spec named(pattern()) -> [mfa()].
named({'_', _, _}) ->
    [];
named({M, _, _} = Pattern) ->
    _ = code:ensure_loaded(M),
    loaded(Pattern).

%% @doc The same as the module is now; none if it is not loaded.
-spec loaded(pattern()) -> [mfa()].
loaded({M, _, _} = Pattern) ->
    [{M, F, A} || {F, A} = FA <- functions(M), matches(FA, Pattern)].

-spec matches({atom(), arity()}, pattern()) -> boolean().
matches({F, A}, {_, PatternF, PatternA}) ->
    (PatternF =:= '_' orelse PatternF =:= F) andalso (PatternA =:= '_' orelse PatternA =:= A).

%% Local functions too.
-spec functions(module()) -> [{atom(), arity()}].
functions(Module) ->
    try erlang:get_module_info(Module, functions)
    catch
        error:badarg -> []
    end.

%% @doc Why a pattern names nothing, and what was meant perhaps.
-spec explain_none(pattern()) -> iodata().
explain_none({M, F, A}) ->
    case code:ensure_loaded(M) of
        {module, M} -> explain_function(M, F, A, functions(M));
        {error, nofile} -> ["there is no module ", name(M), " in the code path.", near_module(M)];
        {error, Reason} -> io_lib:format("module ~tw cannot be loaded (~tw).", [M, Reason])
    end.

-spec explain_function(module(), atom(), arity() | '_', [{atom(), arity()}]) -> iodata().
explain_function(M, F, A, Functions) ->
    case lists:sort([Arity || {Name, Arity} <- Functions, Name =:= F]) of
        [] ->
            [
                "module ", name(M), " is loaded and has no function ", name(F),
                "; one that the compiler inlined is gone as well.", near_function(F, Functions)
            ];
        Arities ->
            Found = lists:join(", ", [[name(F), "/", integer_to_list(Arity)] || Arity <- Arities]),
            ["module ", name(M), " has no ", name(F), io_lib:format("/~w, only ", [A]), Found, "."]
    end.

-spec near_function(atom(), [{atom(), arity()}]) -> iodata().
near_function(F, Functions) ->
    did_you_mean(F, lists:usort([Name || {Name, _} <- Functions])).

%% Only among loaded modules: those are the ones at hand.
-spec near_module(module()) -> iodata().
near_module(M) ->
    did_you_mean(M, [Module || {Module, _} <- code:all_loaded()]).

-spec did_you_mean(atom(), [atom()]) -> iodata().
did_you_mean(Wanted, Names) ->
    Text = atom_to_list(Wanted),
    Slips = min(2, length(Text) div 3),
    Near = lists:sort([{distance(Text, atom_to_list(N)), N} || N <- Names, similar_size(Text, N)]),
    case Near of
        [{Distance, Name} | _] when Distance =< Slips -> [" Did you mean ", name(Name), "?"];
        _ -> ""
    end.

-spec similar_size(string(), atom()) -> boolean().
similar_size(Text, Name) ->
    abs(length(Text) - length(atom_to_list(Name))) =< 2.

%% Letters to insert, delete or replace, row by row.
-spec distance(string(), string()) -> non_neg_integer().
distance(From, To) ->
    First = lists:seq(0, length(To)),
    lists:last(lists:foldl(fun(Letter, Row) -> next_row(Letter, To, Row) end, First, From)).

-spec next_row(char(), string(), [non_neg_integer()]) -> [non_neg_integer()].
next_row(Letter, To, [Corner | _] = Row) ->
    next_row(Letter, To, Row, [Corner + 1]).

-spec next_row(char(), string(), [non_neg_integer()], [non_neg_integer()]) -> [non_neg_integer()].
next_row(_Letter, [], _Above, New) ->
    lists:reverse(New);
next_row(Letter, [Other | To], [Diagonal, Up | Above], [Left | _] = New) ->
    Replaced =
        case Letter of
            Other -> Diagonal;
            _ -> Diagonal + 1
        end,
    next_row(Letter, To, [Up | Above], [lists:min([Replaced, Up + 1, Left + 1]) | New]).

-spec name(atom()) -> io_lib:chars().
name(Atom) -> io_lib:format("~tw", [Atom]).
