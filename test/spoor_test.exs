defmodule SpoorTest do
  use ExUnit.Case

  @moduletag :tmp_dir

  def work(0), do: :ok
  def work(n), do: __MODULE__.work(n - 1)

  setup %{tmp_dir: dir} do
    on_exit(fn ->
      assert Spoor.status() == []
    end)

    %{options: [dir: dir, ring: "2MiB", procs: [self()]]}
  end

  describe "start/2" do
    test "takes modules, tuples and captures", %{options: options} do
      for what <- [
            {__MODULE__, :work},
            {__MODULE__, :work, 1},
            &__MODULE__.work/1,
            [&__MODULE__.work/1],
            {:calls, {__MODULE__, :work, 1}}
          ] do
        assert {:ok, %{functions: 1, processes: 1} = session} = Spoor.start(what, options)
        work(10)
        assert {:ok, %{events: 12, what: "SpoorTest.work" <> _}} = Spoor.stop(session)
      end
    end

    test "takes options as a map", %{options: options} do
      assert {:ok, session} = Spoor.start(__MODULE__, Map.new(options))
      assert {:ok, %{stop_reason: "stopped", next: "spoor calls " <> _}} = Spoor.stop(session)
    end

    test "takes units", %{options: options} do
      session = Spoor.start!(__MODULE__, [time: {1, :minute}, label: "Friday"] ++ options)
      assert %{time: 60_000, ring: 2_097_152, label: "Friday"} = Spoor.status(session)
      assert %{lost: 0} = Spoor.stop!(session)
    end

    test "takes less than all", %{options: options} do
      limits = [rate: {5, {1, :hour}}, max_cost: {50, :percent}, sample: 1, overload: :drop]
      session = Spoor.start!({__MODULE__, :work}, limits ++ options)
      work(10)

      assert {:ok, %{events: 5, dropped: %{rate: dropped}} = summary} = Spoor.stop(session)
      assert %{rate: %{events: ^dropped, first_ms: _, last_ms: _}} = summary.thinned
      assert {:error, %Spoor.Error{} = error} = Spoor.start(__MODULE__, rate: 5)
      assert Exception.message(error) =~ "{Events, Milliseconds}"
    end

    test "says what to do about an error", %{options: options} do
      assert {:error, %Spoor.Error{reason: {:no_match, {SpoorTest, :wrk, :_}}} = error} =
               Spoor.start({__MODULE__, :wrk}, options)

      assert Exception.message(error) =~ "matches SpoorTest.wrk: module SpoorTest is"
      assert Exception.message(error) =~ "Did you mean work?"
      assert {:error, %Spoor.Error{reason: {:bad_option, _}}} = Spoor.start(__MODULE__, msgs: 3)
      assert {:error, %Spoor.Error{reason: {:too_broad, _}} = error} = Spoor.start(:full)
      assert Exception.message(error) =~ "force: true"
    end

    test "refuses what cannot be named", %{options: options} do
      assert {:error, %Spoor.Error{reason: {:bad_pattern, _}}} =
               Spoor.start(fn -> :ok end, options)

      assert {:error, %Spoor.Error{reason: {:bad_pattern, "Enum"}}} = Spoor.start("Enum", options)
    end
  end

  describe "start!/2" do
    test "raises what to do", %{options: options} do
      assert_raise Spoor.Error, ~r/no module SpoorTes in/, fn ->
        Spoor.start!(SpoorTes, options)
      end
    end
  end

  describe "snapshot/2" do
    test "copies the recording", %{options: options} do
      session = Spoor.start!(&__MODULE__.work/1, options)
      work(10)

      assert {:ok, %{path: path, events: 12, last: 30_000}} =
               Spoor.snapshot(session, last: {30, :second}, reason: :slow)

      assert File.exists?(path)
      assert {:ok, %{events: 12, last: 30_000}} = Spoor.snapshot(last: {30, :second})
      Spoor.stop!(session)

      assert {:error, %Spoor.Error{reason: :not_recording} = error} = Spoor.snapshot(session)
      assert Exception.message(error) =~ "ended"
    end
  end

  describe "run/2" do
    test "answers value and summary", %{options: options} do
      options = Keyword.delete(options, :procs)

      assert {{:ok, 3}, %{events: events}} =
               Spoor.run(fn -> {work(10), 3} end, [what: &__MODULE__.work/1] ++ options)

      assert events == 13
      assert {[1, 2], %{}} = Spoor.run({Enum, :to_list, [1..2]}, options)
      assert {:error, %Spoor.Error{}} = Spoor.run(fn -> 1 end, [what: NoSuchModule] ++ options)
    end

    test "raises what the function raises", %{options: options} do
      options = Keyword.delete(options, :procs)

      assert_raise ArgumentError, "no", fn ->
        Spoor.run(fn -> raise ArgumentError, "no" end, options)
      end

      assert catch_throw(Spoor.run(fn -> throw(:ball) end, options)) == :ball
    end
  end

  describe "open/1 and tracer/1" do
    test "serve tracing of one's own", %{tmp_dir: dir} do
      {:ok, session} = Spoor.open(dir: dir, ring: "2MiB")
      {:spoor_tracer, state} = Spoor.tracer(session)
      1 = :erlang.trace(self(), true, [:call, {:tracer, :spoor_tracer, state}])
      1 = :erlang.trace_pattern({__MODULE__, :work, 1}, true, [:local])
      work(10)
      1 = :erlang.trace(self(), false, [:all])
      1 = :erlang.trace_pattern({__MODULE__, :work, 1}, false, [:local])
      assert {:ok, [%{events: 11}]} = Spoor.stop()
    end
  end

  test "supervisors are known by what they are, whatever they are called", %{tmp_dir: dir} do
    {:ok, session} = Spoor.start(:requests, dir: dir, ring: "4MiB")

    children = [
      {Agent, fn -> 0 end},
      {Task.Supervisor, name: SpoorTest.Tasks},
      {DynamicSupervisor, name: SpoorTest.Children},
      {PartitionSupervisor, child_spec: {Agent, fn -> 1 end}, name: SpoorTest.Parts}
    ]

    {:ok, tree} = Supervisor.start_link(children, strategy: :one_for_one, name: SpoorTest.Tree)
    {:ok, _} = DynamicSupervisor.start_child(SpoorTest.Children, {Agent, fn -> 1 end})
    Task.await(Task.Supervisor.async(SpoorTest.Tasks, fn -> :ok end))
    {:ok, worker} = Agent.start_link(fn -> 0 end, name: :work_sup)
    Agent.get(worker, fn _ -> Agent.start_link(fn -> 2 end) end)
    {:ok, %{path: path}} = Spoor.stop(session)
    Supervisor.stop(tree)

    spoor = System.get_env("SPOOR_BIN") || Path.expand("../target/release/spoor", __DIR__)
    {page, 0} = System.cmd(spoor, ["procs", path, "--group-by", "supervisor"])

    for name <- ["Tree", "Children", "Tasks", "Parts"], do: assert(page =~ "\nSpoorTest.#{name} ")
    refute page =~ "work_sup"
  end

  test "Spoor.Error is an exception" do
    assert Exception.message(%Spoor.Error{reason: {:nif_unavailable, "why"}}) =~ "SPOOR_NIF"
  end
end
