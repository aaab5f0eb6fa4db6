# Submeter's doors. Each installs what it lacks, says so, and has nothing to set up the second time.
#
# One profile (release) and one target directory outside the checkout for all of them, so that
# RocksDB is compiled once per machine. Every cargo call names the whole workspace: choosing a
# package alone would choose other features of shared crates and build them again.

SHELL := /bin/bash
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(HOME)/.cache/submeter/target
export PATH := $(PATH):$(HOME)/.cargo/bin

WHOLE := --release --workspace --locked
# The agent that can be made to die at named places: another binary, so that the shipped one never holds them.
FAIL_POINTS := --features submeter-agent/fail-points --bin submeter-agent-fail-points
BIN := $(CARGO_TARGET_DIR)/release

.PHONY: help setup build demo demo-stop test test-crash test-damage test-fleet lint bench

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:
	@.make/setup

build: setup ## compile everything
	@cargo build $(WHOLE) --all-targets
	@cargo build $(WHOLE) $(FAIL_POINTS)

demo: build ## a collector, two agents, a month of usage, exact invoices; left running
	@$(BIN)/submeter-demo run

demo-stop: ## stop what `make demo` left running
	@if [ -x $(BIN)/submeter-demo ]; then $(BIN)/submeter-demo stop; else echo 'no demo was built'; fi

test: build ## every test, those that start the real binaries too
	@cargo test $(WHOLE)

test-crash: build ## the crash loop at length: the agent killed 200 times, the collector in between
	@CRASH_LOOP_KILLS=$${CRASH_LOOP_KILLS:-200} cargo test $(WHOLE) --test crash_loop -- --nocapture

test-damage: build ## a thousand flips, cuts and removals in a state directory
	@SUBMETER_TEST_DAMAGE=$${SUBMETER_TEST_DAMAGE:-1..1000} cargo test $(WHOLE) --lib -- tests::damage --nocapture

test-fleet: build ## ten thousand agents that come back at once after an outage
	@SUBMETER_FLEET=10000 cargo test $(WHOLE) --test network a_thousand_agents -- --nocapture

lint: setup ## formatting and clippy, warnings are errors
	@! git grep -nE '^(<{7}|>{7}) ' || { echo 'a merge was left half done'; exit 1; }
	@cargo fmt --all --check
	@cargo clippy $(WHOLE) --all-targets -- -D warnings
	@cargo clippy $(WHOLE) $(FAIL_POINTS) -- -D warnings

bench: build ## the agent's speed and size beside Redis and PostgreSQL, and invoices a second; IDS=100000000, CUSTOMERS=1000000 for longer ones
	@.make/setup bench
	@$(BIN)/submeter-bench --seconds $${SECONDS_EACH:-12}
	@cargo test -q $(WHOLE) --bench dedup -- $${IDS:-10000000}
	@CUSTOMERS=$${CUSTOMERS:-100000} cargo test -q $(WHOLE) --bench billing
