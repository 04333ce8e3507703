%% @doc What is known to crash or stall a VM that is traced, by release. Pure.
%%
%% A hazard that can end the VM is refused, unless forced. One that cannot be
%% seen to do harm here is a warning: `spoor:status/1' shows it.
-module(spoor_hazard).

-export([check/2, has/2, this_vm/0, explain/1, instead/1]).

-export_type([vm/0, bug/0]).

-type vm() :: #{otp := pos_integer(), erts := [non_neg_integer()]}.
-type bug() :: binary().
%% How the Erlang/OTP project names the bug.

-type hazard() :: #{
    reference := bug(),
    flag := spoor_spec:flag(),
    %% The first version of the runtime system without it, by OTP release.
    fixed := #{pos_integer() => [non_neg_integer()]},
    grade := refuse | warn,
    text := binary()
}.

-spec hazards() -> [hazard()].
hazards() ->
    [
        #{
            reference => <<"OTP-18398">>,
            flag => running,
            fixed => #{25 => [13, 2]},
            grade => refuse,
            text => <<
                "tracing which process runs when can crash this VM as soon as a traced process uses "
                "a dirty scheduler (files, crypto, large garbage collections). It is fixed in OTP 25.3"
            >>
        },
        #{
            reference => <<"OTP-19034">>,
            flag => running,
            fixed => #{25 => [13, 2, 2, 8], 26 => [14, 2, 4]},
            grade => refuse,
            text => <<
                "turning tracing on or off, or an exit signal, can crash this VM while a dirty scheduler "
                "runs a process whose scheduling is traced. It is fixed in OTP 25.3.2.11, 26.2.4 and 27"
            >>
        },
        #{
            reference => <<"OTP-18838">>,
            flag => 'receive',
            fixed => #{25 => [13, 2, 2, 5], 26 => [14, 2]},
            grade => warn,
            text => <<
                "a process with message_queue_data off_heap whose receives are traced may be woken late. "
                "It is fixed in OTP 25.3.2.8 and 26.2"
            >>
        },
        #{
            reference => <<"OTP-19527">>,
            flag => 'receive',
            fixed => #{25 => [13, 2, 2, 15], 26 => [14, 2, 5, 9], 27 => [15, 2, 4]},
            grade => warn,
            text => <<
                "receive events of a process that is busy elsewhere may come late. "
                "It is fixed in OTP 25.3.2.19, 26.2.5.10 and 27.3.1"
            >>
        },
        #{
            reference => <<"GH-8614">>,
            flag => garbage_collection,
            %% Releases before have no sessions.
            fixed => #{25 => [], 26 => [], 27 => [15, 0, 1]},
            grade => warn,
            text => <<
                "another trace session that begins to trace garbage collections is not seen in time, "
                "and two that do end this VM: begin none meanwhile. It is fixed in OTP 27.0.1"
            >>
        }
    ].

%% @doc Refuses a plan that can crash the VM; answers the warnings of one that
%% goes ahead.
-spec check(spoor_spec:plan(), vm()) -> {ok, [binary()]} | {error, {unsafe_on_otp, bug()}}.
check(#{flags := Flags, options := #{force := Force}}, Vm) ->
    Present = [H || #{flag := Flag} = H <- hazards(), lists:member(Flag, Flags), not is_fixed(H, Vm)],
    case [Reference || #{grade := refuse, reference := Reference} <- Present, not Force] of
        [Reference | _] -> {error, {unsafe_on_otp, Reference}};
        [] -> {ok, [warning(Hazard) || Hazard <- Present]}
    end.

-spec warning(hazard()) -> binary().
warning(#{reference := Reference, text := Text}) -> <<Reference/binary, ": ", Text/binary>>.

%% @doc Has this release the bug?
-spec has(bug(), vm()) -> boolean().
has(Bug, Vm) ->
    lists:any(fun(#{reference := Reference} = Hazard) -> Reference =:= Bug andalso not is_fixed(Hazard, Vm) end, hazards()).

-spec is_fixed(hazard(), vm()) -> boolean().
is_fixed(#{fixed := Fixed}, #{otp := Otp, erts := Erts}) ->
    case Fixed of
        #{Otp := First} -> Erts >= First;
        #{} -> Otp > lists:max(maps:keys(Fixed))
    end.

%% @doc The VM that this runs in.
-spec this_vm() -> vm().
this_vm() ->
    Version = string:lexemes(erlang:system_info(version), "."),
    #{
        otp => list_to_integer(erlang:system_info(otp_release)),
        erts => [Number || Text <- Version, {Number, _} <- [string:to_integer(Text)], is_integer(Number)]
    }.

%% @doc What a reference is about, for those who were refused.
-spec explain(bug()) -> binary().
explain(<<"GH-11624">>) ->
    <<
        "another trace session traces garbage collection already, and two that do make this VM "
        "use freed memory. End the other one first"
    >>;
explain(Reference) ->
    case [Text || #{reference := R, text := Text} <- hazards(), R =:= Reference] of
        [Text | _] -> Text;
        [] -> <<"this combination is known to harm this VM">>
    end.

%% @doc What else may serve, where there is something.
-spec instead(bug()) -> binary().
instead(Reference) ->
    case [Flag || #{flag := Flag, reference := R} <- hazards(), R =:= Reference] of
        [running] -> <<"Record calls instead: they say on which scheduler they ran, and `spoor sched' shows it. ">>;
        _ -> <<>>
    end.
