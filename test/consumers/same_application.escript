#!/usr/bin/env escript
%% same_application.escript MIX_APP REBAR_APP CARGO_TOML: fails unless the
%% application that Mix built, the one rebar3 built and the Rust crates agree.
main([MixApp, RebarApp, CargoToml]) ->
    Mix = keys(MixApp),
    Rebar = keys(RebarApp),
    same(vsn, get(vsn, Mix), get(vsn, Rebar)),
    same(vsn, crate_version(CargoToml), get(vsn, Rebar)),
    %% Mix adds its own language, and the modules in lib/.
    same(applications, get(applications, Mix) -- [elixir], get(applications, Rebar)),
    [same(Key, get(Key, Mix), get(Key, Rebar)) || Key <- [description, registered, mod, env]],
    same(modules, [M || M <- get(modules, Mix), not is_elixir(M)], lists:sort(get(modules, Rebar))),
    io:format("~p~n", [Rebar]).

keys(File) ->
    {ok, [{application, spoor, Keys}]} = file:consult(File),
    Keys.

get(Key, Keys) ->
    proplists:get_value(Key, Keys, []).

is_elixir(Module) ->
    lists:prefix("Elixir.", atom_to_list(Module)).

crate_version(CargoToml) ->
    {ok, Text} = file:read_file(CargoToml),
    {match, [Version]} = re:run(
        Text, "\\[workspace\\.package\\]\\s+version = \"([^\"]+)\"", [{capture, [1], list}]
    ),
    Version.

same(_Key, Value, Value) ->
    ok;
same(Key, One, Other) ->
    io:format(standard_error, "~p differs: ~p and ~p~n", [Key, One, Other]),
    halt(1).
