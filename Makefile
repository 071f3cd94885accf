# Steelyard. `make help` lists what there is; `make demo` and `make test` need
# nothing but Go, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := $(CURDIR)/bin
GOLANGCI_LINT_VERSION := v2.15.0
BENCHSTAT_VERSION := v0.0.0-20260908200009-22c9c6c9d4da
LINT := $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)

# Arguments for the demo: make demo ARGS="--policy p2c --seed 7"
ARGS ?=
# How long each fuzz target runs, and how long and how often each benchmark.
FUZZTIME ?= 1m
BENCHTIME ?= 1s
COUNT ?= 1
BENCH ?= .
# Over how many seeds the simulation runs, and what of it.
SEEDS ?= 20
SIMULATE ?=

# The race detector needs a C compiler on Linux. Without one the tests run
# without it, and say so.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: all
all: fmt build test ## Format, build and test everything

.PHONY: build
build: ## Build the library and the steelyard command (bin/steelyard)
	go build ./...
	cd lab && go build ./... && go build -o $(BIN)/steelyard ./cmd/steelyard

.PHONY: test
test: lint race allocs bench-once ## Run everything that must pass: linters, tests with -race, benchmarks once

.PHONY: race
race: ## Run the tests of both modules with the race detector
	@if [ -z "$(RACE)" ]; then echo "no C compiler: the tests run without the race detector"; fi
	go test $(RACE) -timeout 10m ./...
	cd lab && go test -p 1 $(RACE) -timeout 20m ./...

# The race detector makes sync.Pool drop what it holds, so these run without; so
# do the tables of the hash, which take it fifteen times as long, in all sizes.
.PHONY: allocs
allocs: ## Run the tests that the race detector hinders: allocations, and the hash's tables
	go test -run Alloc ./...
	go test ./balancers/consistenthash

.PHONY: bench-once
bench-once:
	go test -run '^$$' -bench . -benchtime 1x -timeout 10m ./bench/
	cd lab && go test -run '^$$' -bench . -benchtime 1x -timeout 10m ./e2e/

.PHONY: lint
lint: $(LINT) ## Run go vet and the linters over both modules
	go mod tidy -diff
	cd lab && go mod tidy -diff
	go vet ./...
	$(LINT) run ./...
	cd lab && go vet ./... && $(LINT) run --config ../.golangci.yml ./...

.PHONY: fmt
fmt: $(LINT) ## Format the code of both modules
	$(LINT) fmt ./...
	cd lab && $(LINT) fmt --config ../.golangci.yml ./...

# Arguments for the long suite: make test-long LONG="-mix 30m -seed 7"
LONG ?= -mix 30m

.PHONY: test-long
test-long: ## Run the long faults and half an hour of random ones (LONG="-mix 30m -seed 7")
	cd lab && go test $(RACE) -timeout 4h -v -run 'TestFaults|TestRegistry' ./e2e -args -long $(LONG)

.PHONY: baseline
baseline: ## Play the faults against etcd's own resolver too, for lab/e2e/RESULTS.md
	cd lab && go test -timeout 3h -v -run TestBaseline ./e2e -args -long -baseline

.PHONY: scale
scale: ## Measure discovery at 20,000 endpoints beside etcd's own resolver (COUNT=)
	cd lab && go test -run '^$$' -bench Scale_ -benchtime 1x -count $(COUNT) -timeout 2h ./e2e -args -scale.full

.PHONY: bench
bench: ## Run the benchmarks beside grpc-go's own policies (BENCH=, BENCHTIME=, COUNT=)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -count $(COUNT) -timeout 60m ./bench/ | tee bench.out
	@go run golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION) -col /policy bench.out || true

.PHONY: simulate
simulate: ## Run the simulation, 25 minutes (SEEDS=, SIMULATE="-scenario black -policy p2c")
	go test ./bench/simulation -run TestSimulation -v -timeout 0 -args -seeds $(SEEDS) -json $(CURDIR)/simulation.json $(SIMULATE)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: demo
demo: ## Watch servers, etcd and the four policies at work, in half a minute (ARGS="--help")
	@cd lab && go build -o $(BIN)/steelyard ./cmd/steelyard
	@$(BIN)/steelyard demo $(ARGS)

.PHONY: cover
cover: ## Show the test coverage of the library
	go test -coverprofile coverage.out -coverpkg ./... ./...
	go tool cover -func coverage.out | tail -1

$(LINT):
	GOBIN=$(BIN)/install go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/install/golangci-lint $@
