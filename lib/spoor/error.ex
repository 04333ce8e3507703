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
  def message(%__MODULE__{reason: reason}), do: List.to_string(:spoor.format_error(reason))
end
