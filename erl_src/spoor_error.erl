%% @doc What an error reason means, and what to do about it.
-module(spoor_error).

-export([format/1]).

%% @doc A sentence or two for people.
-spec format(term()) -> string().
format(Reason) ->
    unicode:characters_to_list(text(Reason)).

-spec text(term()) -> iodata().
text({bad_option, {Name, Why}}) ->
    ["option ", term(Name), ": ", Why, "."];
text({bad_pattern, calls}) ->
    "calls needs functions: {calls, Patterns}, with a module, {M, F}, {M, F, Arity} or a list of them.";
text({bad_pattern, Term}) ->
    [
        term(Term), " names nothing to trace. Give calls, scheduling, gc, requests, messages or full, a module, "
        "{M, F}, {M, F, Arity}, a fun M:F/A, or a list of these."
    ];
text({no_match, {M, F, A} = Pattern}) when is_atom(M), is_atom(F), is_integer(A) orelse A =:= '_' ->
    ["no function matches ", pattern(Pattern), ": ", spoor_functions:explain_none(Pattern)];
text({no_process, Name}) when is_atom(Name) ->
    ["no process is registered as ", term(Name), ". Is it running on this node?"];
text({no_process, Pid}) ->
    ["process ", term(Pid), " is not alive."];
text({too_broad, Info}) ->
    broad(Info);
text({tracer_conflict, Who}) ->
    [
        "somebody else traces here already (", term(Who), ") and this VM has one tracer for each process; "
        "spoor takes it from nobody. End the other trace first, for instance with spoor:stop/0 or dbg:stop/0; "
        "patterns that somebody left go with dbg:stop_clear/0, those of messages with "
        "erlang:trace_pattern(send, true, []) and ('receive', true, []). "
        "From OTP 27 both can run."
    ];
text({already_recording, Recordings}) ->
    [
        "spoor records here already (", lists:join(", ", [recording(R) || R <- Recordings]), ") and before OTP 27 "
        "one recording at a time can trace. End that one first: spoor:stop()."
    ];
text({unsafe_on_otp, Reference}) when is_binary(Reference) ->
    [
        spoor_hazard:explain(Reference), " (", Reference, "). ", spoor_hazard:instead(Reference),
        "The option force => true goes ahead all the same."
    ];
text({nif_unavailable, Why}) ->
    [
        "the recorder library cannot be used: ", printable(Why), ". Build it (`make', or your project's own "
        "build), or name a ready-built one with SPOOR_NIF when building, or with the application "
        "environment nif_path."
    ];
text({bad_session, Term}) ->
    [
        term(Term), " is no recording. spoor:start/2 answers {ok, Session}: give the Session. "
        "spoor:stop/0 ends all recordings, spoor:status/0 shows them."
    ];
text({several_recordings, Paths}) ->
    [
        "several recordings are open (", lists:join(", ", [printable(Path) || Path <- Paths]), "): say which, "
        "spoor:snapshot(Session, Options). spoor:status/0 shows them, and each of its maps will do as the Session."
    ];
text({not_started, Reason}) ->
    ["the application spoor does not start: ", term(Reason), "."];
text(Reason) ->
    text_of_file(Reason).

%% What the recorder answers about its file.
-spec text_of_file(term()) -> iodata().
text_of_file({no_space, Need, Have}) ->
    [
        "not enough space: the recording takes ", amount(Need), " and there is room for ", amount(Have),
        ". Choose a smaller ring or another dir."
    ];
text_of_file({dir_unwritable, Dir, Posix}) ->
    [
        "the directory ", printable(Dir), " cannot be written: ", posix(Posix),
        ". Name another with the option dir, SPOOR_DIR, or the application environment dir."
    ];
text_of_file({file_error, Path, Posix}) ->
    [printable(Path), ": ", posix(Posix), ".", advice(Posix)];
text_of_file({ring_too_small, Bytes}) ->
    ["the ring needs at least ", amount(Bytes), " here: each thread of the VM takes its own part of it."];
text_of_file({segment_too_small, Segment, Least, Stream}) ->
    [
        "the stream's segments are too small, ", amount(Segment), " each: each thread of the VM takes its own part of one. "
        "Give segment => ", exactly(Least), " or more (unless told, it is a sixteenth of the stream), and stream => ",
        exactly(Stream), " or more."
    ];
text_of_file({stream_too_small, Stream, Least, Segment}) ->
    [
        "a stream of ", amount(Stream), " is too small for segments of ", amount(Segment), ": it needs room for four of them, "
        "and a fifth where they are packed. Give stream => ", exactly(Least), " or more, or a smaller segment."
    ];
text_of_file(too_many_recordings) ->
    "16 recordings are open, and there is no room for more. spoor:status/0 names them, spoor:stop/0 ends them.";
text_of_file({unsupported, Why}) ->
    ["the recorder cannot work here: ", printable(Why), "."];
text_of_file(not_recording) ->
    "this recording has ended.";
text_of_file(Other) ->
    [term(Other), "."].

%% What to do about it, where the system's words do not say.
-spec advice(term()) -> iodata().
advice(efbig) ->
    " No file may be as large as that here (ulimit -f, LimitFSIZE of systemd, or the file system). Choose a "
    "smaller ring, or a stream: its files are as large as its segments.";
advice(enomem) ->
    " The VM cannot have so much memory or address space (ulimit -v, LimitAS of systemd). Choose a smaller ring.";
advice(emfile) ->
    " The VM has no file descriptor left (ulimit -n, LimitNOFILE of systemd).";
advice(enfile) ->
    " The system has no file descriptor left (fs.file-max).";
advice(enodev) ->
    " Files of this file system cannot be mapped into memory. Choose another dir.";
advice(_) ->
    [].

-spec broad(term()) -> iodata().
broad(#{pattern := Pattern}) ->
    [
        pattern(Pattern), " names functions of every module, and each call of each of them would be an event. "
        "Name modules, or give force => true."
    ];
broad(#{preset := full}) ->
    "full on all processes records everything the VM does. Name the processes with procs, or give force => true.";
broad(Info) ->
    ["this would record too much (", term(Info), "). Give force => true to do it."].

-spec pattern(term()) -> iodata().
pattern({_, _, _} = Pattern) -> spoor_spec:pattern_text(Pattern);
pattern(Other) -> term(Other).

-spec posix(term()) -> iodata().
posix(Posix) when is_atom(Posix) ->
    case file:format_error(Posix) of
        "unknown POSIX error" ++ _ -> atom_to_list(Posix);
        Text -> [Text, " (", atom_to_list(Posix), ")"]
    end;
posix(Other) ->
    term(Other).

%% As it can be given.
-spec exactly(term()) -> iodata().
exactly(Bytes) when is_integer(Bytes) -> integer_to_list(Bytes);
exactly(Other) -> term(Other).

-spec amount(term()) -> iodata().
amount(Bytes) when is_integer(Bytes), Bytes >= 1 bsl 40 ->
    io_lib:format("~.1f TiB", [Bytes / (1 bsl 40)]);
amount(Bytes) when is_integer(Bytes), Bytes >= 10 bsl 30 ->
    io_lib:format("~.1f GiB", [Bytes / (1 bsl 30)]);
amount(Bytes) when is_integer(Bytes), Bytes >= 1024 * 1024 ->
    io_lib:format("~.1f MiB", [Bytes / (1024 * 1024)]);
amount(Bytes) when is_integer(Bytes) ->
    io_lib:format("~b bytes", [Bytes]);
amount(Other) ->
    term(Other).

-spec printable(term()) -> iodata().
printable(Text) when is_binary(Text) -> spoor_file:text(Text);
printable(Text) ->
    case io_lib:char_list(Text) of
        true -> Text;
        false -> term(Text)
    end.

-spec term(term()) -> iodata().
term(Term) -> io_lib:format("~0tP", [Term, 30]).

%% The file says more than the process that looks after it, if that is still there.
-spec recording(pid()) -> iodata().
recording(Pid) ->
    try spoor_recording:status(Pid) of
        {ok, #{path := Path}} -> spoor_file:text(Path);
        {error, _} -> term(Pid)
    catch
        exit:_GoneOrGoing -> term(Pid)
    end.
