# Everything for people: `make demo` and `make test` are all the set-up there is.
#
# One target folder, one profile, one feature set for make, CI and your shell: anything else compiles RocksDB again.

SHELL := /bin/bash
SCALE ?= 0.5
# RocksDB and all other dependencies are at opt-level 3 in release too; PROFILE=dist optimises our own crates
# as well and compiles everything again.
PROFILE ?= release
ARGS ?=
export CARGO_TARGET_DIR ?= $(HOME)/.cache/cairn/target
CAIRN := $(CARGO_TARGET_DIR)/release/cairn
# A workspace of its own, without RocksDB.
FUZZ_TARGET_DIR ?= $(HOME)/.cache/cairn/fuzz

.PHONY: help build demo test disk crash soak valgrind bench-reclaim bench-open check doc fuzz setup

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*##/ { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: setup ## build the binary, ./target/release/cairn
	cargo build --release --workspace
	@mkdir -p target/release && ln -sfn $(CAIRN) target/release/cairn

demo: build ## import TPC-H data, cancel the import half way, measure what is left (SCALE=0.5)
	$(CAIRN) demo --scale $(SCALE)

test: build disk ## run every test, and the kept corpus of the small fuzz targets
	cargo test --release --workspace
	cd fuzz && cargo test --release --locked --target-dir $(FUZZ_TARGET_DIR)

disk: ## build the disk that forgets what was not synced
	cargo build --release --manifest-path tests/disk/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/disk

crash: build disk ## random kills, power cuts, death at every step, disk faults and hostile bytes against a real server (SECONDS=60 each, CAIRN_KILL_SEED=n)
	cargo test --release --workspace --test soak -- kill --seconds $(or $(SECONDS),60)
	cargo test --release --workspace --test soak -- power --seconds $(or $(SECONDS),60)
	CAIRN_CRASH_STRIDE=1 cargo test --release --workspace --test deaths -- --nocapture
	CAIRN_FAULT_SECONDS=$(or $(SECONDS),60) cargo test --release --workspace --test faults -- --test-threads 1
	CAIRN_WIRE_SECONDS=$(or $(SECONDS),60) cargo test --release --workspace --test wire

soak: build ## full load with cancels and restarts: what grows? (SECONDS=3600)
	cargo test --release --workspace --test soak -- growth --seconds $(or $(SECONDS),3600)

valgrind: build ## the engine's tests, which call all of RocksDB's C interface, under valgrind (6 min; ARGS=a part of their names)
	cargo test --release --workspace --lib --config "target.'cfg(all())'.runner = '$(CURDIR)/.ci/valgrind'" -- --skip model_test --skip own_disk_test --test-threads 1 $(ARGS)

bench-reclaim: setup ## measure what a cancelled job costs everybody else (ARGS=--smoke, ARGS=--help)
	cargo bench --profile $(PROFILE) --workspace --bench reclaim -- --out $(CURDIR)/target/bench-reclaim $(ARGS)

bench-open: setup ## measure how long a test waits for a store
	cargo bench --profile $(PROFILE) --workspace --bench open

check: setup ## formatting and lints
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

doc: setup ## the documentation of all crates
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

fuzz: ## run each fuzz target (SECONDS=60 each)
	@.ci/fuzz $(or $(SECONDS),60)

# Rust and a C++ compiler are expected; libclang, which the RocksDB bindings need, is installed if it is missing.
setup:
	@.ci/setup
