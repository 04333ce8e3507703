[
  inputs: ["mix.exs", "lib/**/*.ex", "test/*.exs", "test/consumers/mix_app/{mix.exs,lib/**/*.ex}"]
]
