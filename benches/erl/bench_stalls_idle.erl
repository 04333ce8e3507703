-module(bench_stalls_idle).
-export([call/1]).
call(N) -> N band 7.
