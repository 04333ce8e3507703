defmodule Mix.Tasks.Compile.SpoorNif do
  @moduledoc "Builds the recorder with `native/build_nif.escript`, as rebar3 does."
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    before = stamp()
    escript = System.find_executable("escript") || Mix.raise("escript is not on PATH")
    args = ["native/build_nif.escript", out_dir(), Mix.Project.build_path()]

    case System.cmd(escript, args, into: IO.stream(:stdio, :line), stderr_to_stdout: true) do
      {_, 0} -> {if(stamp() == before, do: :noop, else: :ok), []}
      {_, status} -> Mix.raise("building the recorder failed (exit #{status}), see above")
    end
  end

  @impl true
  def clean, do: File.rm_rf!(out_dir())

  defp out_dir, do: Path.join(Mix.Project.app_path(), "priv/native")
  defp stamp, do: File.stat(Path.join(out_dir(), "spoor_tracer.so"))
end

defmodule Spoor.MixProject do
  use Mix.Project

  @source_url "https://github.com/spoor-beam/spoor"

  # What rebar3 reads is what Mix reads: version, applications, start module.
  @app_src Path.join(__DIR__, "erl_src/spoor.app.src")
  @external_resource @app_src
  {:ok, [{:application, :spoor, keys}]} = :file.consult(@app_src)
  @keys keys

  def project do
    [
      app: :spoor,
      version: List.to_string(@keys[:vsn]),
      description: List.to_string(@keys[:description]),
      elixir: "~> 1.14",
      erlc_paths: ["erl_src"],
      erlc_options: [:debug_info] ++ strict(Mix.env(), [:warnings_as_errors, :warn_missing_spec]),
      elixirc_paths: ["lib"],
      elixirc_options: strict(Mix.env(), warnings_as_errors: true),
      compilers: [:spoor_nif] ++ Mix.compilers(),
      start_permanent: false,
      deps: [],
      test_ignore_filters: [&String.starts_with?(&1, "test/consumers/")],
      package: package(),
      source_url: @source_url
    ]
  end

  def application do
    [extra_applications: @keys[:applications] -- [:kernel, :stdlib]] ++
      Keyword.take(@keys, [:mod, :registered, :env])
  end

  # Only our own tests are strict: a new warning of a later release must not
  # stop anyone's build.
  defp strict(:test, options), do: options
  defp strict(_env, _options), do: []

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{"Source" => @source_url},
      files: ~w(Cargo.toml Cargo.lock format native analyzer benches
                erl_src lib priv/.gitkeep mix.exs rebar.config
                docs README.md ARCHITECTURE.md CHANGELOG.md LICENSE)
    ]
  end
end
