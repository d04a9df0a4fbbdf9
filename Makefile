# `make test` is all that a change has to pass; `make demo` is all that a new user has to type.

.PHONY: test test-vm soak fuzz demo demo-down shop shop-down bench build check deps man

build:
	scripts/deps build
	cargo build --release

check:
	scripts/deps build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: check
	scripts/deps test
	scripts/test

# The same on Debian's own kernel with a unified cgroup hierarchy, in a virtual machine.
test-vm:
	scripts/deps build vm
	scripts/test-vm

# Processes of the product are killed at random moments, in 200 rounds or as many as are asked for. A
# seed repeats what is done: `make soak BRICKYARD_SEED=7 BRICKYARD_ROUNDS=50`.
soak: export BRICKYARD_ROUNDS ?= 200
soak: export BRICKYARD_SEED ?= $(shell date +%s)
soak:
	scripts/deps build test
	cargo test -p brickyard --test yard -- --nocapture killed_processes_lose

# Files of the corpus are changed at random, guided by what they reach, for so many seconds: what is
# found is kept below `fuzz/artifacts`. The compiler is told that it may instrument what it builds.
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: FUZZ_SECONDS ?= 600
fuzz:
	scripts/deps build fuzz
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	mkdir -p fuzz/corpus/model
	cp crates/model/tests/corpus/*/*.txt fuzz/corpus/model/
	cargo fuzz run --sanitizer none model -- -dict=fuzz/model.dict -max_total_time=$(FUZZ_SECONDS) \
		-timeout=5 -rss_limit_mb=1024 -max_len=8192

demo:
	scripts/deps build demo
	cargo build --release
	scripts/demo up

demo-down:
	scripts/demo down

shop:
	scripts/deps build shop
	cargo build --release
	scripts/shop up

shop-down:
	scripts/shop down

bench:
	scripts/deps build bench
	cargo build --release
	cargo build --release -p brickyard-engine --example starts
	python3 scripts/bench.py

man:
	scripts/deps build
	cargo run --release --quiet -- man target/man

deps:
	scripts/deps build test demo bench vm
