%% @doc From what a user writes to a plan, without a VM in sight.
-module(spoor_spec_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0]).
-export([
    patterns_are_accepted_in_every_form/1,
    presets_and_patterns_mix_in_a_list/1,
    what_names_nothing_is_refused/1,
    everything_needs_force/1,
    full_on_all_processes_needs_force/1,
    flags_follow_the_presets/1,
    maps_and_lists_of_options_say_the_same/1,
    the_first_of_a_repeated_option_counts/1,
    unknown_options_are_named/1,
    wrong_values_are_explained/1,
    defaults_are_bounded/1,
    times_have_units/1, what_thins_is_in_units_of_its_own/1,
    sizes_have_units/1,
    open_takes_no_option_of_tracing/1,
    run_takes_no_processes/1,
    hazards_follow_the_release/1,
    a_text_is_refused_as_a_text/1, force_overrides_hazards/1,
    every_reason_has_a_text/1,
    a_missing_function_suggests_another/1,
    the_closing_line_says_it_all/1
]).

-define(VM(Otp, Erts), #{otp => Otp, erts => Erts}).

all() ->
    [
        patterns_are_accepted_in_every_form,
        presets_and_patterns_mix_in_a_list,
        what_names_nothing_is_refused,
        everything_needs_force,
        full_on_all_processes_needs_force,
        flags_follow_the_presets,
        maps_and_lists_of_options_say_the_same,
        the_first_of_a_repeated_option_counts,
        unknown_options_are_named,
        wrong_values_are_explained,
        defaults_are_bounded,
        what_thins_is_in_units_of_its_own, times_have_units,
        sizes_have_units,
        open_takes_no_option_of_tracing,
        run_takes_no_processes,
        hazards_follow_the_release,
        a_text_is_refused_as_a_text, force_overrides_hazards,
        every_reason_has_a_text,
        a_missing_function_suggests_another,
        the_closing_line_says_it_all
    ].

patterns_are_accepted_in_every_form(_Config) ->
    Forms = [
        {lists, {lists, '_', '_'}},
        {{lists, map}, {lists, map, '_'}},
        {{lists, map, '_'}, {lists, map, '_'}},
        {{lists, map, 2}, {lists, map, 2}},
        {fun lists:map/2, {lists, map, 2}}
    ],
    [
        [
            ?assertMatch(#{presets := [calls], patterns := [Pattern]}, plan(What, #{}))
         || What <- [Form, [Form], {calls, Form}, {calls, [Form]}, [{calls, [Form]}]]
        ]
     || {Form, Pattern} <- Forms
    ],
    ?assertMatch(
        #{patterns := [{lists, '_', '_'}, {maps, get, '_'}]}, plan([{maps, get}, lists, lists], #{})
    ),
    %% A module that is called like a preset.
    ?assertMatch(#{presets := [calls], patterns := [{gc, '_', '_'}]}, plan({calls, gc}, #{})).

presets_and_patterns_mix_in_a_list(_Config) ->
    ?assertMatch(
        #{presets := [calls, scheduling], patterns := [{lists, '_', '_'}]},
        plan([scheduling, lists], #{})
    ),
    ?assertMatch(#{presets := [gc, messages], patterns := []}, plan([messages, gc], #{})),
    ?assertEqual(<<"scheduling, lists, maps:get">>, spoor_spec:text(plan([lists, scheduling, {maps, get}], #{}))),
    Elixir = ['Elixir.My.Orders', {'Elixir.My.Price', 'old?', 1}],
    ?assertEqual(<<"My.Orders, My.Price.old?/1">>, spoor_spec:text(plan(Elixir, #{}))).

what_names_nothing_is_refused(_Config) ->
    [
        ?assertMatch({error, {bad_pattern, _}}, spoor_spec:plan(What, #{}))
     || What <- [
            [], calls, [calls], {calls, []}, "lists", 17, {lists, map, 256}, {lists, map, -1}, {lists, "map"},
            {lists, map, 2, 3}, {lists, '_', 2}, {'_', map}, {'_', map, 2}, {'_', '_', 2}, <<"lists">>, fun(X) -> X end, [lists | maps], #{}
        ]
    ].

everything_needs_force(_Config) ->
    [
        begin
            ?assertMatch({error, {too_broad, #{pattern := {'_', _, _}}}}, spoor_spec:plan(What, #{})),
            ?assertMatch({error, {too_broad, _}}, spoor_spec:plan(What, #{procs => [self()]})),
            ?assertMatch(#{}, plan(What, #{force => true}))
        end
     || What <- ['_', {'_', '_'}, {'_', '_', '_'}, [lists, '_']]
    ].

full_on_all_processes_needs_force(_Config) ->
    ?assertEqual({error, {too_broad, #{preset => full, procs => all}}}, spoor_spec:plan(full, #{})),
    ?assertMatch(#{presets := [full]}, plan(full, #{procs => [self()]})),
    ?assertMatch(#{presets := [full]}, plan(full, #{procs => new})),
    ?assertMatch(#{presets := [full]}, plan(full, #{force => true})).

flags_follow_the_presets(_Config) ->
    ?assertEqual([arity, call, procs, return_to, set_on_spawn], flags(lists, #{})),
    ?assertEqual([call, procs, return_to, set_on_spawn], flags(lists, #{args => full})),
    ?assertEqual([arity, call, procs, return_to], flags(lists, #{set_on_spawn => false})),
    ?assertEqual([arity, call, procs, return_to, running, set_on_spawn], flags(lists, #{running => true})),
    ?assertEqual([procs, running, set_on_spawn], flags(scheduling, #{})),
    ?assertEqual([garbage_collection, set_on_spawn], flags(gc, #{})),
    ?assertEqual([procs, 'receive', send, set_on_spawn], flags(messages, #{})),
    ?assertEqual(
        [exiting, garbage_collection, procs, 'receive', running, send, set_on_spawn],
        lists:sort(fun by_name/2, flags(full, #{procs => new}))
    ),
    ?assertMatch(#{port_flags := ['receive', send]}, plan(messages, #{})),
    ?assertMatch(#{port_flags := []}, plan(messages, #{procs => [self()]})),
    ?assertMatch(#{port_flags := []}, plan(lists, #{})).

maps_and_lists_of_options_say_the_same(_Config) ->
    Same = [#{args => full, link => true}, [{args, full}, {link, true}], [{args, full}, link]],
    ?assertMatch([_], lists:usort([plan(lists, Options) || Options <- Same])),
    ?assertEqual(plan(lists, #{}), plan(lists, [])).

the_first_of_a_repeated_option_counts(_Config) ->
    ?assertMatch(#{options := #{time := 1}}, plan(lists, [{time, 1}, {time, 2}])).

unknown_options_are_named(_Config) ->
    ?assertMatch({error, {bad_option, {msgs, _}}}, spoor_spec:plan(lists, #{msgs => 10})),
    ?assertMatch({error, {bad_option, {msgs, _}}}, spoor_spec:plan(lists, [msgs])),
    %% Options of other functions.
    ?assertMatch({error, {bad_option, {what, _}}}, spoor_spec:plan(lists, #{what => lists})),
    ?assertMatch({error, {bad_option, {last, _}}}, spoor_spec:plan(lists, #{last => 1})),
    [
        ?assertMatch({error, {bad_option, _}}, spoor_spec:plan(lists, Bad))
     || Bad <- [17, {time, 1}, [17], [{time, 1, 2}], [{time, 1} | link], "abc"]
    ].

wrong_values_are_explained(_Config) ->
    Wrong = [
        {procs, none}, {procs, undefined}, {procs, true}, {procs, []}, {procs, ["a"]}, {procs, [self() | self()]}, {time, 0}, {time, -1},
        {time, soon}, {time, {0, second}}, {time, {1, year}}, {max_events, 0}, {max_events, x}, {ring, 0},
        {time, 1 bsl 70}, {max_events, 1 bsl 70}, {ring, 1 bsl 70}, {max_term_bytes, 1 bsl 70}, {time, {1 bsl 60, hour}},
        {ring, <<"much">>}, {ring, "64 XiB"}, {ring, [$6, self()]}, {dir, ""}, {dir, <<>>}, {dir, 17}, {dir, [17, x]},
        {rate, 100}, {rate, {0, 100}}, {rate, {1 bsl 32, 1}}, {rate, {10, 0}}, {rate, {10, infinity}},
        {function_rate, {10, {1, year}}}, {sample, 0}, {sample, 0.1}, {max_cost, 0}, {max_cost, 1.5},
        {max_cost, {0, percent}}, {max_cost, {101, percent}}, {overload, wait},
        {args, shape}, {max_term_bytes, 63}, {max_term_bytes, 4097}, {link, maybe_so}, {force, 1}, {running, x}, {set_on_spawn, x}
    ],
    [
        begin
            {error, {bad_option, {Named, Why}}} = spoor_spec:plan(lists, [{Name, Value}]),
            ?assertEqual(Name, Named),
            ?assert(is_binary(Why)),
            ?assertMatch({match, _}, re:run(spoor:format_error({bad_option, {Named, Why}}), atom_to_list(Name)))
        end
     || {Name, Value} <- Wrong
    ].

defaults_are_bounded(_Config) ->
    #{options := Options} = plan(lists, #{}),
    ?assertMatch(
        #{
            time := 15000, ring := 67108864, max_events := 100000000, args := none, link := true,
            force := false, procs := all,
            rate := infinity, function_rate := infinity, sample := 1, max_cost := infinity, overload := drop
        },
        Options
    ).

what_thins_is_in_units_of_its_own(_Config) ->
    Given = [
        {rate, {10, 250}}, {function_rate, {3, {2, second}}}, {sample, 7}, {max_cost, {2.5, percent}}, {overload, stop}
    ],
    #{options := Options} = plan(lists, Given),
    ?assertMatch(
        #{rate := {10, 250}, function_rate := {3, 2000}, sample := 7, max_cost := 25_000, overload := stop}, Options
    ),
    #{options := #{max_cost := 50_000}} = plan(lists, #{max_cost => 0.05}),
    #{options := #{max_cost := 10}} = plan(lists, #{max_cost => {0.001, percent}}),
    {error, {bad_option, {max_cost, TooSmall}}} = spoor_spec:plan(lists, #{max_cost => {0.0005, percent}}),
    ?assertNotEqual(nomatch, string:find(TooSmall, "at least 0.001 percent")),
    {ok, #{options := #{rate := {1, 1}}}} = spoor_spec:open(#{rate => {1, 1}}),
    Meta = maps:from_list(spoor_meta:entries(plan(lists, Given))),
    #{<<"limits">> := Limits, <<"sample">> := <<"7">>} = Meta,
    {match, _} = re:run(Limits, "rate 10 in 250 ms, function_rate 3 in 2000 ms, one process in 7, max_cost 2.500 %, more ends it"),
    false = maps:is_key(<<"sample">>, maps:from_list(spoor_meta:entries(plan(lists, #{})))).

times_have_units(_Config) ->
    Times = [
        {infinity, infinity}, {250, 250}, {{250, millisecond}, 250}, {{10, second}, 10000},
        {{2, minute}, 120000}, {{1, hour}, 3600000}
    ],
    [?assertMatch(#{options := #{time := Ms}}, plan(lists, #{time => Time})) || {Time, Ms} <- Times].

sizes_have_units(_Config) ->
    Sizes = [
        {65536, 65536}, {<<"65536">>, 65536}, {<<"64KiB">>, 65536}, {"64 KiB", 65536}, {<<"1MiB">>, 1048576},
        {<<"1GiB">>, 1073741824}, {<<"5MB">>, 5000000}, {<<"7B">>, 7}
    ],
    [?assertMatch(#{options := #{ring := Bytes}}, plan(lists, #{ring => Size})) || {Size, Bytes} <- Sizes].

open_takes_no_option_of_tracing(_Config) ->
    ?assertMatch({ok, #{procs := none, flags := [], patterns := []}}, spoor_spec:open(#{ring => 65536})),
    [
        ?assertMatch({error, {bad_option, {Name, _}}}, spoor_spec:open([{Name, Value}]))
     || {Name, Value} <- [{procs, all}, {force, true}, {running, true}, {set_on_spawn, true}]
    ].

run_takes_no_processes(_Config) ->
    ?assertMatch({error, {bad_option, {procs, _}}}, spoor_spec:run(lists, #{procs => all})),
    ?assertMatch({ok, #{patterns := [{lists, '_', '_'}]}}, spoor_spec:run(lists, #{})),
    ?assertMatch({ok, #{presets := [gc], patterns := []}}, spoor_spec:run(lists, #{what => gc})),
    %% Only its own process: not too broad.
    ?assertMatch({ok, #{presets := [full]}}, spoor_spec:run(lists, #{what => full})).

hazards_follow_the_release(_Config) ->
    Scheduling = plan(scheduling, #{}),
    Refused = [
        {<<"OTP-18398">>, ?VM(25, [13, 1, 5])},
        {<<"OTP-19034">>, ?VM(25, [13, 2])},
        {<<"OTP-19034">>, ?VM(25, [13, 2, 2, 7])},
        {<<"OTP-19034">>, ?VM(26, [14, 2, 3])}
    ],
    [
        ?assertEqual({error, {unsafe_on_otp, Reference}}, spoor_hazard:check(Plan, Vm))
     || {Reference, Vm} <- Refused,
        Plan <- [
            Scheduling, plan(lists, #{running => true}), plan(full, #{procs => new}),
            plan(scheduling, #{procs => existing}), plan(scheduling, #{procs => [self()]})
        ]
    ],
    Fine = [?VM(25, [13, 2, 2, 8]), ?VM(26, [14, 2, 4]), ?VM(27, [15, 0]), ?VM(29, [17, 1])],
    [?assertEqual({ok, []}, spoor_hazard:check(Scheduling, Vm)) || Vm <- Fine],
    ?assertEqual({ok, []}, spoor_hazard:check(plan(lists, #{}), ?VM(25, [13, 1, 5]))),
    ?assertMatch({ok, [_, _]}, spoor_hazard:check(plan(messages, #{}), ?VM(25, [13, 1, 5]))),
    ?assertMatch({ok, [_]}, spoor_hazard:check(plan(messages, #{}), ?VM(27, [15, 2]))),
    ?assertEqual({ok, []}, spoor_hazard:check(plan(messages, #{}), ?VM(28, [16, 0]))),
    %% Who begins to trace is not seen by a guard there: it is said instead.
    ?assertMatch({ok, [<<"GH-8614", _/binary>>]}, spoor_hazard:check(plan(gc, #{}), ?VM(27, [15, 0]))),
    Guarded = [?VM(25, [13, 2]), ?VM(26, [14, 0]), ?VM(27, [15, 0, 1]), ?VM(28, [16, 0])],
    [?assertEqual({ok, []}, spoor_hazard:check(plan(gc, #{}), Vm)) || Vm <- Guarded],
    ?assertEqual([], [Vm || Vm <- Guarded, spoor_hazard:has(<<"GH-8614">>, Vm)]),
    ?assert(spoor_hazard:has(<<"GH-8614">>, ?VM(27, [15, 0]))).

a_text_is_refused_as_a_text(_Config) ->
    ?assertEqual({error, {bad_pattern, "str"}}, spoor_spec:plan("str", #{})),
    {match, _} = re:run(spoor:format_error({bad_pattern, "str"}), "\"str\" names nothing"),
    ?assertEqual({error, {bad_pattern, 17}}, spoor_spec:plan([lists, 17], #{})).

force_overrides_hazards(_Config) ->
    Forced = plan(scheduling, #{force => true}),
    ?assertMatch({ok, [_, _]}, spoor_hazard:check(Forced, ?VM(25, [13, 1, 5]))).

every_reason_has_a_text(_Config) ->
    Reasons = [
        {bad_option, {time, <<"why">>}}, {bad_pattern, 17}, {bad_pattern, calls}, {no_match, {lists, nosuch, '_'}},
        {no_match, {nosuch, '_', '_'}}, {no_match, {lists, map, 9}}, {no_process, nobody}, {no_process, self()},
        {too_broad, #{pattern => {'_', '_', '_'}}}, {too_broad, #{preset => full, procs => all}}, {too_broad, x},
        {tracer_conflict, [self()]}, {already_recording, [self()]}, {unsafe_on_otp, <<"OTP-18398">>}, {unsafe_on_otp, <<"GH-11624">>},
        {nif_unavailable, <<"why">>}, {no_space, 1 bsl 30, 17}, {dir_unwritable, <<"/x">>, eacces},
        {dir_unwritable, "/x", eunknown}, {file_error, <<"/x">>, enospc}, {ring_too_small, 475136},
        {segment_too_small, 1000, 475136, 2000000}, {stream_too_small, 1 bsl 20, 2500000, 1 bsl 19},
        too_many_recordings, {unsupported, <<"why">>}, {not_started, x}, not_recording, something_else
    ],
    Texts = [spoor:format_error(Reason) || Reason <- Reasons],
    [?assert(io_lib:char_list(Text) andalso length(Text) > 10) || Text <- Texts],
    ?assertEqual(length(Texts), length(lists:usort(Texts))),
    %% Calls say something of scheduling, and nothing of garbage collections.
    Instead = fun(Bug) -> string:find(spoor:format_error({unsafe_on_otp, Bug}), "Record calls instead") =/= nomatch end,
    ?assertEqual([true, false], [Instead(Bug) || Bug <- [<<"OTP-18398">>, <<"GH-11624">>]]),
    Says = fun(Posix, Words) -> ?assertMatch({_, _}, binary:match(text_of_file_error(Posix), Words)) end,
    Says(efbig, <<"LimitFSIZE of systemd">>),
    Says(enomem, <<"Choose a smaller ring">>),
    Says(emfile, <<"ulimit -n">>).

text_of_file_error(Posix) ->
    unicode:characters_to_binary(spoor:format_error({file_error, <<"/x">>, Posix})).

a_missing_function_suggests_another(_Config) ->
    Says = fun(Pattern, Words) ->
        ?assertMatch({match, _}, re:run(spoor:format_error({no_match, Pattern}), Words))
    end,
    Says({lists, mapp, '_'}, "Did you mean map\\?"),
    Says({lists, map, 7}, "only map/2"),
    Says({listss, '_', '_'}, "no module listss.*Did you mean lists\\?"),
    Says({lists, qqqqqqqq, '_'}, "inlined").

the_closing_line_says_it_all(_Config) ->
    Counts = #{
        path => <<"/tmp/it's.spoor">>, phase => stopping, events => 12, overwritten => 3, ring => 65536,
        thinned => #{rate => #{events => 7, first_ms => 1203, last_ms => 9873}},
        dropped => #{no_lane => 2, rate => 7}, elapsed_ms => 5, lanes => 1, stop_reason => <<"time">>
    },
    Session = #{id => 1, pid => self(), path => <<"/tmp/it's.spoor">>, functions => 1, processes => 1},
    Summary = spoor_summary:summary(Session, plan(lists, #{}), Counts),
    #{lost := 12, next := Next, text := Text, phase := stopped, stop_reason := <<"time">>} = Summary,
    ?assertEqual(<<"spoor calls '/tmp/it'\\''s.spoor'">>, Next),
    ?assertEqual(
        <<"spoor: ended (time), 12 events, 3 overwritten by later ones, 2 dropped (no_lane), "
            "7 dropped (rate, 1.203 to 9.873 s after the start). Next: ", Next/binary>>,
        Text
    ),
    #{next := <<"spoor sched ", _/binary>>} = spoor_summary:summary(Session, plan(scheduling, #{}), Counts),
    #{next := <<"spoor info ", _/binary>>} = spoor_summary:summary(Session, plan(gc, #{}), Counts).

%%% Helpers

plan(What, Options) ->
    {ok, Plan} = spoor_spec:plan(What, Options),
    Plan.

flags(What, Options) ->
    #{flags := Flags} = plan(What, Options),
    Flags.

by_name(A, B) ->
    atom_to_list(A) =< atom_to_list(B).
