%% @doc Names, arguments and reasons as they stand in the file: whatever their size and
%% script, and no dearer to the VM than a look at them.
-module(spoor_terms_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([
    names_beyond_latin1/1,
    long_terms_are_cut_visibly/1,
    large_integers_are_not_printed/1,
    binaries_are_measured_not_copied/1,
    references_as_the_vm_writes_them/1
]).
-export([h/1]).

-import(spoor_bare, [traced/3, traced/4, pattern/2]).

all() ->
    [
        names_beyond_latin1,
        long_terms_are_cut_visibly,
        large_integers_are_not_printed,
        binaries_are_measured_not_copied,
        references_as_the_vm_writes_them
    ].

init_per_suite(Config) -> spoor_bare:begun(Config).

end_per_suite(_Config) -> application:stop(spoor).

init_per_testcase(Case, Config) -> spoor_servant:own_directory(Case, Config).

end_per_testcase(_Case, _Config) -> spoor_bare:nothing_traced().

h(N) -> N + 1.

names_beyond_latin1(Config) ->
    Names = [list_to_atom(N) || N <- ["grün", "日本語", "with space", "новый"]],
    {_, Events} = traced(Config, [procs], fun() ->
        [begin true = register(N, self()), true = unregister(N) end || N <- Names]
    end),
    Read = [Name || {<<"register">>, #{<<"name">> := Name}} <- Events],
    ?assertEqual([unicode:characters_to_binary(atom_to_list(N)) || N <- Names], Read).

long_terms_are_cut_visibly(Config) ->
    pattern({?MODULE, h, 1}, true),
    Long = lists:duplicate(10_000, $x),
    Deep = lists:foldl(fun(N, Term) -> {N, Term, #{N => Term}} end, [], lists:seq(1, 12)),
    Work = fun() -> lists:foreach(fun attempt/1, [Long, Deep, list_to_binary(Long), 1 bsl 5000, fun h/1, 1.5, make_ref()]) end,
    {_, Events} = traced(Config, #{args => full, max_term_bytes => 200}, [call], Work),
    Contents = [C || {<<"call">>, #{<<"content">> := C}} <- Events],
    ?assertEqual(7, length(Contents)),
    [?assert(byte_size(C) < 2000) || C <- Contents],
    [?assertNotEqual(nomatch, binary:match(C, <<"…"/utf8>>)) || C <- lists:sublist(Contents, 3)],
    ?assertEqual(<<"[1.5]">>, lists:nth(6, Contents)).

%% A binary that begins within a byte is copied by whoever asks the VM for its
%% bytes: in a callback nobody may.
binaries_are_measured_not_copied(Config) ->
    MiB = 1024 * 1024,
    Whole = <<0:(8 * 64 * MiB)>>,
    <<_:4, Within:(63 * MiB)/binary, _/bits>> = Whole,
    <<_:8, Part:100/binary, _/bits>> = Whole,
    <<_:3, Bits:801/bits, _/bits>> = Whole,
    Values = [<<"short">>, Whole, Part, Within, Bits, <<1:1>>, <<>>],
    Sizes = [5, 64 * MiB, 100, 63 * MiB, 101, 1, 0],
    ok = file:write_file("/proc/self/clear_refs", "5"),
    Before = most_memory(),
    [
        begin
            {_, Exit} = traced(Config, #{ring => <<"2MiB">>}, [procs], fun() -> exit({size, Value}) end),
            {<<"exit">>, #{<<"reason">> := Reason}} = lists:last(Exit),
            ?assertEqual(iolist_to_binary(["{size,", measured(Size), "}"]), Reason)
        end
     || {Value, Size} <- lists:zip(Values, Sizes)
    ],
    %% Not even when arguments are asked for.
    pattern({?MODULE, h, 1}, true),
    {_, Call} = traced(Config, #{args => full, ring => <<"2MiB">>}, [call], fun() -> attempt(Within) end),
    ?assertMatch([{<<"call">>, #{<<"content">> := <<"[(binary of ", _/binary>>}}], Call),
    ?assert(most_memory() - Before < 32 * MiB).

measured(0) -> "(binary)";
measured(Size) -> io_lib:format("(binary of ~b)", [Size]).

%% The most bytes that this VM ever held, since it was last asked to forget.
most_memory() ->
    {ok, Text} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Text, "VmHWM:\\s+(\\d+)", [{capture, all_but_first, binary}]),
    1024 * binary_to_integer(KiB).

%% The VM prints in the square of the size, and all that time nothing else runs.
large_integers_are_not_printed(Config) ->
    pattern({?MODULE, h, 1}, true),
    Larger = [1 bsl 384, 1 bsl 3_000_000],
    Work = fun() -> lists:foreach(fun attempt/1, [1 bsl 383 | Larger]) end,
    {Us, {_, Events}} = timer:tc(fun() -> traced(Config, #{args => full}, [call], Work) end),
    Printed = integer_to_binary(1 bsl 383),
    ?assertEqual(
        [<<"[", Printed/binary, "]">>, <<"[…]"/utf8>>, <<"[…]"/utf8>>],
        [C || {<<"call">>, #{<<"content">> := C}} <- Events]
    ),
    ?assert(Us < 10_000_000).

%% Ordinary ones and aliases are read in place, others printed: more than once,
%% as the layout of aliases is learned from the first.
references_as_the_vm_writes_them(Config) ->
    Alias = fun() -> erlang:monitor(process, self(), [{alias, explicit_unalias}]) end,
    References =
        [make_ref(), Alias(), Alias(), make_ref(), ets:new(table, []), atomics:new(1, []), Alias(), make_ref()],
    {_, Events} = traced(Config, [procs], fun() -> exit({list_to_tuple(References)}) end),
    [#{<<"reason">> := Reason}] = [Fields || {<<"exit">>, Fields} <- Events],
    {match, Found} = re:run(Reason, "#Ref<[0-9.]+>", [global, {capture, first, list}]),
    ?assertEqual([ref_to_list(R) || R <- References], [F || [F] <- Found]).

attempt(Term) ->
    try
        h(Term)
    catch
        error:badarith -> ok
    end.
