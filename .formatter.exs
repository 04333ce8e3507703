[
  inputs: [
    "{mix,.formatter}.exs",
    "lib/**/*.ex",
    "test/*.exs",
    "test/consumers/mix_app/mix.exs",
    "test/consumers/mix_app/lib/*.ex"
  ]
]
