%% @doc Who listens to the events: the ways of tracing that are compared.
%%
%% A storage mode of the recorder is one more clause of `open/2'.
-module(bench_variants).

-export([all/0, open/2, close/1, trace/3, trace_all/2, settle/1, stored/1]).
-export_type([name/0, variant/0, place/0]).

-type name() :: untraced | empty | spoor | spoor_disk | spoor_once | spoor_stream | process | dbg_file.
-type place() :: #{shm := file:filename(), disk := file:filename(), ring := pos_integer()}.
-opaque variant() ::
    #{name := name(), tracer := [term()], state => pos_integer(), pid => pid(), port => port(), files => string()}.

%% @doc All of them, the floor first.
-spec all() -> [name()].
all() -> [empty, spoor, spoor_disk, spoor_once, spoor_stream, process, dbg_file].

-spec open(name(), place()) -> variant().
open(untraced, _) ->
    #{name => untraced, tracer => []};
open(empty, _) ->
    {module, _} = code:ensure_loaded(bench_empty_tracer),
    #{name => empty, tracer => [{tracer, bench_empty_tracer, 0}]};
open(spoor, #{shm := Dir} = Place) ->
    recorder(spoor, Dir, Place, #{});
open(spoor_disk, #{disk := Dir} = Place) ->
    recorder(spoor_disk, Dir, Place, #{});
open(spoor_once, #{disk := Dir, ring := Ring} = Place) ->
    % With room for all that is measured: a full one would take nothing, which is cheap.
    recorder(spoor_once, Dir, Place, #{mode => once, ring => 8 * Ring});
open(spoor_stream, #{disk := Dir, ring := Ring} = Place) ->
    Stream = #{mode => stream, segment => Ring div 2, ring => 4 * Ring, keep_first => false, packs => false},
    recorder(spoor_stream, Dir, Place, Stream);
open(process, _) ->
    Pid = spawn_opt(fun drop/0, [{priority, high}, {message_queue_data, off_heap}]),
    #{name => process, tracer => [{tracer, Pid}], pid => Pid};
open(dbg_file, #{shm := Dir}) ->
    Files = filename:join(Dir, "bench-dbg-" ++ os:getpid()),
    % A set of files of bounded size: what is measured is the writing.
    Start = dbg:trace_port(file, {Files, wrap, ".trace", 8 * 1024 * 1024, 2}),
    Port = Start(),
    #{name => dbg_file, tracer => [{tracer, Port}], port => Port, files => Files}.

-spec recorder(name(), file:filename(), place(), map()) -> variant().
recorder(Name, Dir, #{ring := Ring}, Storage) ->
    {module, _} = code:ensure_loaded(spoor_tracer),
    Unique = integer_to_list(erlang:unique_integer([positive])),
    Path = filename:join(Dir, "bench-" ++ os:getpid() ++ "-" ++ Unique ++ ".spoor"),
    Name =:= spoor_stream andalso (ok = file:make_dir(Path)),
    Options = #{
        path => unicode:characters_to_binary(Path),
        ring => Ring,
        owner => self(),
        time => 0,
        max_events => 0,
        content => none,
        max_term_bytes => 256,
        meta => meta()
    },
    case spoor_tracer:open(maps:merge(Options, Storage)) of
        {ok, State} ->
            #{name => Name, tracer => [{tracer, spoor_tracer, State}], state => State, files => Path};
        {error, Reason} ->
            exit({recorder, Reason})
    end.

%% What a reader cannot do without.
-spec meta() -> [{binary(), binary()}].
meta() ->
    Limits = [{atom_to_binary(Key), integer_to_binary(erlang:system_info(Key))} || Key <- [process_limit, port_limit]],
    [{<<"otp_release">>, list_to_binary(erlang:system_info(otp_release))} | Limits].

%% @doc Turns it off and takes its files away; a recording's file is kept until
%% then and named, complete, to the caller.
-spec close(variant()) -> none | {file, file:filename(), Summary :: map()}.
close(#{state := State, files := Path}) ->
    ok = spoor_tracer:close(State, <<"measured">>),
    receive
        {spoor_tracer, State, {closed, Summary}} -> {file, Path, Summary}
    after 10_000 -> exit(the_recorder_does_not_close)
    end;
close(#{pid := Pid}) ->
    exit(Pid, kill),
    none;
close(#{port := Port, files := Files}) ->
    true = erlang:port_close(Port),
    lists:foreach(fun file:delete/1, filelib:wildcard(Files ++ "*.trace")),
    none;
close(_) ->
    none.

-spec trace(variant(), pid(), [atom()]) -> ok.
trace(#{tracer := []}, _Pid, _Flags) ->
    ok;
trace(#{tracer := Tracer}, Pid, Flags) ->
    1 = erlang:trace(Pid, true, Tracer ++ Flags),
    ok.

%% @doc Traces all processes, those to come too.
-spec trace_all(variant(), [atom()]) -> ok.
trace_all(#{tracer := Tracer}, Flags) ->
    _ = erlang:trace(processes, true, Tracer ++ Flags),
    ok.

%% @doc Waits until what the tracer does behind the tracee's back is done, so
%% that it does not fall into the next measurement.
-spec settle(variant()) -> ok.
settle(#{pid := Pid}) ->
    case erlang:process_info(Pid, message_queue_len) of
        {message_queue_len, 0} -> ok;
        _ -> timer:sleep(1), settle(#{name => process, tracer => [], pid => Pid})
    end;
settle(_) ->
    ok.

%% @doc Events that a recorder has stored so far, and those it had to drop.
-spec stored(variant()) -> {non_neg_integer(), non_neg_integer()} | unknown.
stored(#{state := State}) ->
    {ok, #{events := Events, dropped := Dropped}} = spoor_tracer:status(State),
    {Events, lists:sum(maps:values(Dropped))};
stored(_) ->
    unknown.

drop() ->
    receive
        _ -> drop()
    end.
