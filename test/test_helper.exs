# One line that test/bin/counted reads, whatever this Elixir's own summary looks like.
ExUnit.after_suite(fn %{total: total, failures: failures, skipped: skipped, excluded: excluded} ->
  IO.puts("exunit: #{total - failures - skipped - excluded} passed, #{failures} failed")
end)

ExUnit.start()
