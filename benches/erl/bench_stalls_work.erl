-module(bench_stalls_work).
-export([call/1]).
call(N) -> N band 7.
