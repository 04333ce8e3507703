defmodule MixApp.Recorder do
  @moduledoc "Records 1000 calls and writes what came of it to $CONSUMER_OUT."

  def run do
    outcome = record(System.fetch_env!("CONSUMER_DIR"))
    File.write!(System.fetch_env!("CONSUMER_OUT"), :io_lib.format("~0p.~n", [outcome]))
    System.stop(0)
  end

  defp record(dir) do
    with {:ok, session} <- Spoor.start({MixApp.Work, :step, 1}, dir: dir, procs: [self()]) do
      Enum.each(1..1000, &MixApp.Work.step/1)
      {:ok, summary} = Spoor.stop(session)
      {:recorded, summary.events, summary.stop_reason}
    end
    |> plain()
  end

  # `spoor:start/2` and `Spoor.start/2` name the same reason; here as the term.
  defp plain({:error, %Spoor.Error{reason: reason}}), do: {:error, reason}
  defp plain(other), do: other
end
