%% @doc The empty tracer: what the VM itself charges for an event.
-module(bench_empty_tracer).

-export([enabled/3, trace/5]).
-export([init/0, thread_time/0, thread_usage/1]).

-nifs([enabled/3, trace/5, thread_time/0, thread_usage/1]).
-on_load(init/0).

%% @doc The library is beside this module's compiled file, or named.
-spec init() -> ok | {error, term()}.
init() ->
    Beside = filename:join(filename:dirname(code:which(?MODULE)), "libspoor_empty_tracer"),
    erlang:load_nif(os:getenv("SPOOR_EMPTY_TRACER", Beside), 0).

-spec enabled(atom(), term(), term()) -> trace.
enabled(_Tag, _State, _Tracee) -> erlang:nif_error(not_loaded).

-spec trace(atom(), term(), term(), term(), map()) -> ok.
trace(_Tag, _State, _Tracee, _Term, _Options) -> erlang:nif_error(not_loaded).

%% @doc Nanoseconds that this scheduler's thread has spent on a processor: what
%% else the machine runs meanwhile is not in it.
-spec thread_time() -> non_neg_integer().
thread_time() -> erlang:nif_error(not_loaded).

%% @doc What the system says of this scheduler's thread: nanoseconds that it waited for a
%% processor, minor and major page faults, how often it gave its processor up and how
%% often that was taken; and nanoseconds that the first of the threads with these ids
%% ran, and that the others did.
-spec thread_usage([pos_integer()]) -> {integer(), integer(), integer(), integer(), integer(), integer(), integer()}.
thread_usage(_Tids) -> erlang:nif_error(not_loaded).
