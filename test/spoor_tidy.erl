%% @doc A hook of Common Test: what a passed case recorded is removed, so that
%% a run needs little disk; what a failed one recorded stays beside its log.
-module(spoor_tidy).

-export([init/2, post_end_per_testcase/5]).

-spec init(term(), term()) -> {ok, []}.
init(_Id, _Options) -> {ok, []}.

-spec post_end_per_testcase(module(), atom(), [tuple()], term(), State) -> {term(), State}.
post_end_per_testcase(_Suite, _Case, Config, Return, State) ->
    case {proplists:get_value(tc_status, Config), proplists:get_value(dir, Config)} of
        {ok, Dir} when Dir =/= undefined -> _ = file:del_dir_r(Dir);
        _ -> kept
    end,
    {Return, State}.
