%% @doc What {@link spoor_clockwork} works on, and functions of another module.
-module(spoor_clockwork_data).

-export([make/0, make/1, data/0, work/1]).

%% @doc Makes it: what is compared to the end takes its time.
-spec make() -> ok.
make() -> make(1_500_000).

%% @doc The same of so many bytes.
-spec make(pos_integer()) -> ok.
make(Bytes) ->
    persistent_term:put(?MODULE, {binary:copy(<<0>>, Bytes), binary:copy(<<0>>, Bytes)}).

-spec data() -> {binary(), binary()}.
data() -> persistent_term:get(?MODULE).

-spec work({binary(), binary()}) -> boolean().
work({One, Other}) -> One =:= Other.
