defmodule MixApp.Work do
  @moduledoc "Something to record."

  def step(n), do: rem(n * n, 7)
end
