defmodule Spoor.Error do
  @moduledoc """
  Why something could not be done, and in `message/1` what to do about it.

  `reason` is the term that `:spoor` answers in Erlang, to match on:

      case Spoor.start(MyApp.Orders) do
        {:ok, session} -> session
        {:error, %Spoor.Error{reason: {:no_match, _pattern}}} -> nil
      end
  """

  defexception [:reason]

  @type t :: %__MODULE__{reason: :spoor.reason()}

  @impl true
  def message(%__MODULE__{reason: reason}) do
    reason |> :spoor.format_error() |> List.to_string() |> in_elixir()
  end

  # `'Elixir.MyApp.Orders':create/2` is `MyApp.Orders.create/2` to those who read this.
  defp in_elixir(text) do
    ~r/'Elixir\.([\w.]+)'(:?)/u
    |> Regex.replace(text, fn
      _, module, ":" -> module <> "."
      _, module, "" -> module
    end)
    |> String.replace("force => true", "force: true")
  end
end
