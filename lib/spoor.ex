defmodule Spoor do
  @moduledoc """
  Records what this VM does into a file that survives it.

      {:ok, session} = Spoor.start(MyApp.Orders, time: {10, :second})
      {:ok, summary} = Spoor.stop(session)
      IO.puts(summary.text)

  A thin coat over the Erlang module `:spoor`, with keyword options (maps do too)
  and errors that say what to do next.

  ## What

  A preset, a pattern, or a list of these:

    * `MyApp.Orders`, `{MyApp.Orders, :create}`, `{MyApp.Orders, :create, 2}`,
      `&MyApp.Orders.create/2` - calls of these functions, private ones too, and
      where they return to
    * `{:calls, patterns}` - the same, where a module is called like a preset
    * `:scheduling` - which process runs when, and where
    * `:gc` - garbage collections with their sizes
    * `:requests` - calls of GenServer and the like, casts, replies
    * `:messages` - messages sent and received
    * `:full` - all of this; calls only of functions that are named too

  ## Options

    * `:procs` - `:all` (default), `:new`, `:existing`, a pid, a registered name, or a list
      of these
    * `:time` - milliseconds, `{n, :second}`, `{n, :minute}`, `{n, :hour}` or
      `:infinity`; 15 seconds unless given
    * `:max_events` - ends after so many, or `:infinity`; 100 million unless given
    * `:rate` - `{n, ms}`: at most so many events in each stretch of so many milliseconds
      (or `{n, {1, :second}}`), on all schedulers together
    * `:function_rate` - the same for the calls of each function
    * `:sample` - `n`: one process in n, the whole of it, those spawned later too
    * `:max_cost` - the share of each scheduler's time that the recorder may take: `0.05`
      or `{5, :percent}`
    * `:overload` - when more comes than these three allow: `:drop` (default) what is too
      much, or `:stop`
    * `:ring` - bytes, or a text like `"64MiB"` (default): the oldest events are
      overwritten
    * `:once` - the same, and the first events are kept: ends when full
    * `:stream` - bytes of a directory of segments, which is one recording; `:segment`: bytes
      of each; `:at_cap`: `:delete` (default) the oldest, or `:stop`; `:compress`: `:none`
      (default) or `:lz4`
    * `:sync` - writes everything to the disk this often; `:infinity`
    * `:dir` - where the file goes
    * `:args` - `:none` (default) or `:full`: arguments and messages too, up to
      `:max_term_bytes` (256; 64 to 4096) each
    * `:running` - with calls: which process runs when, too
    * `:set_on_spawn` - processes spawned by those traced are traced; `true`
    * `:link` - `true` (default) ends with the calling process, `false` runs on
    * `:label` - a text that stands in the file
    * `:force` - goes ahead where it is refused as too broad or unsafe
  """

  alias Spoor.Error

  @type what :: :spoor_spec.what()
  @type options :: keyword() | map()
  @type session :: :spoor.session()
  @type summary :: :spoor.summary()

  @doc "Begins to record. It ends by itself at the first of its limits."
  @spec start(what(), options()) :: {:ok, session()} | {:error, Error.t()}
  def start(what, options \\ []), do: wrap(:spoor.start(what, options))

  @doc "As `start/2`, and raises `Spoor.Error` if it cannot."
  @spec start!(what(), options()) :: session()
  def start!(what, options \\ []), do: ok!(start(what, options))

  @doc """
  Opens a recording that traces nothing by itself: give `tracer/1` to whatever
  traces.
  """
  @spec open(options()) :: {:ok, session()} | {:error, Error.t()}
  def open(options \\ []), do: wrap(:spoor.open(options))

  @doc """
  The tracer of a recording: for `:erlang.trace/3`, trace sessions, `:dbg`, and
  `:seq_trace`.
  """
  @spec tracer(session()) :: {:spoor_tracer, pos_integer()}
  def tracer(session), do: :spoor.tracer(session)

  @doc "Ends all recordings."
  @spec stop() :: {:ok, [summary()]}
  def stop, do: :spoor.stop()

  @doc """
  Ends a recording; answers when its file is complete.

  One that has ended by itself not long ago answers how.
  """
  @spec stop(session()) :: {:ok, summary()} | {:error, Error.t()}
  def stop(session), do: wrap(:spoor.stop(session))

  @doc "As `stop/1`, and raises `Spoor.Error` if it cannot."
  @spec stop!(session()) :: summary()
  def stop!(session), do: ok!(stop(session))

  @doc "What all open recordings are doing, oldest first."
  @spec status() :: [map()]
  def status, do: :spoor.status()

  @doc """
  What a recording is doing: events, losses, and whether tracing is still `:on`, or
  `:lost` to somebody who turned it off. Of one that has ended, the summary.
  """
  @spec status(session()) :: map() | {:error, Error.t()}
  def status(session), do: wrap(:spoor.status(session))

  @doc """
  Recordings that VMs before this one left by dying, newest first: those in the directory
  that recordings go to, and in others since a recording went there.

  They were marked when they were found, and logged. The newest 10 stay, or as many as
  the configuration says; older ones are deleted:

      config :spoor, keep: 3, keep_bytes: "1GiB"

  `keep: :infinity` deletes nothing, `keep: :off` does not look. What is to stay for good:
  move it elsewhere, or give it a name that does not begin with `spoor-`.
  """
  @spec crashed() :: [:spoor_adoption.crashed()]
  def crashed, do: :spoor.crashed()

  @doc """
  Copies a window of what has been recorded to a file beside the recording, which
  goes on; no thread that records waits for it.

  Options: `:last`, how much of the time before, like `{30, :second}` (default
  `:infinity`, all there is); `:post`, how long to go on recording before the copy is
  made (default 0; the caller waits); `:reason`, any term.

  Without a session it is of the only recording that is open:

      Spoor.snapshot(last: {30, :second})
  """
  @spec snapshot(session() | options()) ::
          {:ok, :spoor_snapshot.snapshot()} | {:error, Error.t()}
  def snapshot(session_or_options \\ []), do: wrap(:spoor.snapshot(session_or_options))

  @doc "The same of this recording."
  @spec snapshot(session(), options()) ::
          {:ok, :spoor_snapshot.snapshot()} | {:error, Error.t()}
  def snapshot(session, options), do: wrap(:spoor.snapshot(session, options))

  @doc """
  Calls a function (or `{module, function, args}`) in a process of its own and
  records it. Answers its value and the summary; raises what the function raises.

  What is recorded is the option `:what`, else calls of the function's module.

      {value, summary} = Spoor.run(fn -> MyApp.Orders.total(42) end, what: MyApp.Orders)
  """
  @spec run(:spoor_run.work(), options()) :: {term(), summary()} | {:error, Error.t()}
  def run(work, options \\ []) do
    case :spoor.run(work, options) do
      {:error, reason} when not is_map(reason) -> {:error, %Error{reason: reason}}
      {value, summary} -> {value, summary}
    end
  end

  defp wrap({:error, reason}), do: {:error, %Error{reason: reason}}
  defp wrap(answer), do: answer

  defp ok!({:ok, value}), do: value
  defp ok!({:error, error}), do: raise(error)
end
