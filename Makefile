# Each target works on a fresh Debian or Ubuntu machine: what is missing is installed first.
.PHONY: up demo test lint fmt bench eval kafka kafka-3 kafka-stop chaos help

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 19

up: ## build, then watch this machine (page on http://127.0.0.1:7700)
	@scripts/build
	@exec target/release/nephoscope up $(ARGS)

demo: ## build, then a five-minute story on the real pipeline
	@scripts/build
	@exec target/release/nephoscope demo $(ARGS)

test: ## all tests; says what it skipped and why
	@scripts/test

lint: ## formatting and lints, warnings are errors
	@scripts/setup build lint
	@scripts/with-cargo fmt --all --check
	@scripts/with-cargo clippy --release --workspace --all-targets --all-features -- -D warnings

fmt: ## format all code
	@scripts/with-cargo fmt --all

bench: ## every bench, ours and the peers side by side
	@scripts/bench

eval: ## accuracy on public data: make eval DATA=dir
	@scripts/build
	@scripts/with-cargo run --release -q -p nephoscope-eval -- loghub --data $(DATA)

kafka: ## a real Kafka broker on 127.0.0.1:9092, and how to go on from there
	@scripts/kafka 1

kafka-3: ## three brokers on 127.0.0.1:9092, 9102, 9112; replication factor 3
	@scripts/kafka 3

kafka-stop: ## stop what `make kafka` or `make kafka-3` started; its data stays under target/kafka
	@scripts/kafka stop

SECONDS ?= 120
SEED ?= 1
chaos: ## faults of every kind on three brokers, then everything is counted: make chaos SECONDS=600 SEED=7
	@scripts/chaos --seconds $(SECONDS) --seed $(SEED)
