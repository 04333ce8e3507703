defmodule MixApp.Application do
  @moduledoc "A host that boots with Spoor in it, records once and goes."
  use Application

  @impl true
  def start(_type, _args) do
    children = [Supervisor.child_spec({Task, &MixApp.Recorder.run/0}, restart: :temporary)]
    Supervisor.start_link(children, strategy: :one_for_one, name: MixApp.Supervisor)
  end
end
