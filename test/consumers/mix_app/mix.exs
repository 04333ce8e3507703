defmodule MixApp.MixProject do
  use Mix.Project

  def project do
    [
      app: :mix_app,
      version: "1.0.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      deps: [{:spoor, spoor()}]
    ]
  end

  def application, do: [mod: {MixApp.Application, []}]

  # ../../.. is this checkout; the test names a copy of it, or a git URL.
  defp spoor do
    case System.get_env("CONSUMER_SPOOR", "../../..") do
      "file://" <> _ = url -> [git: url, branch: "main"]
      path -> [path: path]
    end
  end
end
