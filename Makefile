# make             the recorder (priv/native) and the `spoor` command (target/release)
# make setup       installs what is missing on Debian and Ubuntu
# make demo        records a service, kills it, shows what happened
# make test        everything on this machine's OTP, Rust included
# make bench       what tracing and reading cost, beside other tracers: benches/RESULTS.md
# make bench-memory  ten minutes of private memory, kept in the same place; SECONDS=60 for one
# make soak        ten minutes of ten times more events than allowed; SECONDS=60 for one
# make fuzz        arbitrary bytes for what reads recordings, a minute each
# make memcheck   the recorder's own tests under valgrind; make race: under ThreadSanitizer
# make docs        the Erlang reference in _build/doc
# make test-erlang what also runs on other OTP releases: no cargo, no network

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := build

export CARGO_TARGET_DIR := $(CURDIR)/target
export PATH := $(PATH):$(HOME)/.cargo/bin
export REBAR_COLOR := none
# Elixir and the names in recordings want UTF-8.
ifeq ($(findstring UTF-8,$(LC_ALL)$(LC_CTYPE)$(LANG)),)
export LC_ALL := C.UTF-8
endif
export CARGO_TERM_COLOR ?= auto

NIF := $(CURDIR)/priv/native/spoor_tracer.so
CLI := $(CARGO_TARGET_DIR)/release/spoor
LOCKED := $(if $(wildcard Cargo.lock),--locked)

# Asked once, and only by the recipes that need it: erl may not be there yet.
OTP = $(eval OTP := $(shell erl -noshell -eval 'io:put_chars(erlang:system_info(otp_release)), halt().'))$(OTP)
# Each OTP release has its own build folder, so they never meet.
REBAR = REBAR_BASE_DIR=_build/otp-$(OTP) SPOOR_NIF=$(NIF) rebar3
MIX = MIX_ENV=test MIX_BUILD_PATH=$(CURDIR)/_build/otp-$(OTP)/mix SPOOR_NIF=$(NIF) mix

COUNTED := test/bin/counted
CHECK := $(COUNTED) --check

.PHONY: build nif cli setup demo bench bench-memory soak fuzz test rust format-check rust-test models race memcheck consumers \
	test-erlang built erlang-check common-test elixir-test consumers-prebuilt docs clean

build: nif cli

nif:
	escript native/build_nif.escript priv/native

cli:
	cargo build --release $(LOCKED) -p spoor-analyzer

setup:
	@test/bin/setup

demo: setup build
	demo/run

# Some minutes, and 10 GB of disk: `window` of benches/analyzer reads a second out of that much.
# BENCH="--quick", BENCH="--otp 27 --otp 29": see benches/run.
bench:
	benches/run $(BENCH)
	benches/analyzer

bench-memory:
	benches/run --memory $(or $(SECONDS),600) $(BENCH)

soak: nif
	@SPOOR_NIF=$(NIF) test/bin/soak $(SECONDS)

# Arbitrary bytes for everything that reads recordings, see fuzz/run.
fuzz:
	@$(COUNTED) "fuzz" fuzz/run $(FUZZ)

# ---- tests ----------------------------------------------------------------------

test: setup format-check rust-test models build docs consumers test-erlang

format-check:
	@$(CHECK) "cargo fmt" cargo fmt --check
	@$(CHECK) "mix format" mix format --check-formatted

rust-test:
	@$(CHECK) "cargo clippy" cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	@$(COUNTED) "cargo test" cargo test --workspace $(LOCKED)

# Every order of events in the recorder's concurrent parts.
models:
	@$(COUNTED) "models" native/models/run

# The same parts at work, watched by ThreadSanitizer. Not in `test`: it asks the
# stable compiler for what only nightly ones promise.
race:
	@$(COUNTED) "race" native/models/race

# The same tests watched by valgrind's memcheck, likewise.
memcheck:
	@$(COUNTED) "memcheck" native/models/memcheck

# The host projects, built by cargo; test-erlang runs them with the built library.
consumers:
	@SPOOR_BIN=$(CLI) $(COUNTED) "consumers, cargo" test/consumers/run

test-erlang: built erlang-check common-test elixir-test consumers-prebuilt

built:
	@test -f $(NIF) && test -x $(CLI) || { echo "test-erlang: run make first, it builds $(NIF) and $(CLI)" >&2; exit 2; }

erlang-check:
	@$(CHECK) "xref, dialyzer, OTP $(OTP)" env $(REBAR) as check do compile, xref, dialyzer

common-test:
	@SPOOR_BIN=$(CLI) $(COUNTED) "common test, OTP $(OTP)" env $(REBAR) ct

elixir-test:
	@SPOOR_BIN=$(CLI) $(COUNTED) "exunit, OTP $(OTP)" env $(MIX) test --warnings-as-errors

consumers-prebuilt:
	@SPOOR_BIN=$(CLI) SPOOR_NIF=$(NIF) $(COUNTED) "consumers, OTP $(OTP)" test/consumers/run

# -----------------------------------------------------------------------------------

# The Erlang reference, in _build/doc.
docs: nif
	@$(CHECK) "edoc" env $(REBAR) edoc

clean:
	rm -rf target _build priv/native demo/out native/models/target fuzz/target
