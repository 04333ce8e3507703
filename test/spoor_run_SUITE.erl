%% @doc What spoor:run/2 answers, raises and records.
-module(spoor_run_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_testcase/2, end_per_testcase/2]).
-export([
    run_answers_value_and_summary/1,
    run_raises_what_the_function_raises/1,
    run_of_a_process_that_is_killed/1,
    run_of_what_ends_spoor_itself/1
]).
-export([secret/1]).

-import(spoor_servant, [work/1]).

all() ->
    [
        run_answers_value_and_summary,
        run_raises_what_the_function_raises,
        run_of_a_process_that_is_killed,
        run_of_what_ends_spoor_itself
    ].

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_servant:nothing_recorded().

run_answers_value_and_summary(Config) ->
    Options = #{dir => ?config(dir, Config), what => {spoor_servant, work, 1}},
    %% 11 calls, a return to the fun, the exit; a tail call has nowhere to return to.
    ?assertMatch({_, #{events := 13}}, spoor:run(fun() -> {work(10)} end, Options)),
    ?assertMatch({ok, #{events := 13}}, spoor:run({spoor_servant, work, [10]}, maps:to_list(Options))),
    %% The function's own module unless told.
    {_, #{what := What}} = spoor:run(fun() -> ok end, maps:remove(what, Options)),
    ?assertEqual(atom_to_binary(?MODULE), What),
    ?assertMatch({error, {no_match, _}}, spoor:run(fun() -> ok end, Options#{what := {?MODULE, nosuch}})),
    ?assertMatch({error, {bad_option, {procs, _}}}, spoor:run(fun() -> ok end, Options#{procs => all})),
    no_mail().

run_raises_what_the_function_raises(Config) ->
    process_flag(trap_exit, true),
    Options = #{dir => ?config(dir, Config)},
    ?assertError({badmatch, 1}, spoor:run(fun() -> 2 = secret(<<1>>) end, Options)),
    ?assertExit(bye, spoor:run(fun() -> exit(bye) end, Options)),
    ?assertThrow(ball, spoor:run(fun() -> throw(ball) end, Options)),
    try spoor:run({?MODULE, secret, [not_a_binary]}, Options) of
        _ -> ct:fail(not_raised)
    catch
        error:badarg:Stack -> ?assert(lists:keymember(secret, 2, Stack))
    end,
    no_mail().

run_of_a_process_that_is_killed(Config) ->
    process_flag(trap_exit, true),
    Options = #{dir => ?config(dir, Config)},
    ?assertExit(killed, spoor:run(fun() -> exit(self(), kill), timer:sleep(1000) end, Options)),
    no_mail().

run_of_what_ends_spoor_itself(Config) ->
    Options = #{dir => ?config(dir, Config)},
    ?assertEqual({error, not_recording}, spoor:run(fun() -> application:stop(spoor) end, Options)),
    ?assertError(oops, spoor:run(fun() -> application:stop(spoor), error(oops) end, Options)),
    no_mail().

secret(Secret) -> byte_size(Secret).

no_mail() ->
    receive
        Mail -> ct:fail({unexpected, Mail})
    after 0 -> ok
    end.
