# `make help` lists the targets. Each runs without a terminal, on loopback, in temporary directories.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
PKG     := github.com/stele-db/stele
LDFLAGS := -s -w -X $(PKG)/pkg/version.Version=$(VERSION) -X $(PKG)/pkg/version.GitCommit=$(COMMIT)

# The suite that test-suite runs. scripts/test-suite documents TIME, ON, RUN and COUNT.
SUITE ?= crash

# How long each fuzz target runs.
FUZZTIME ?= 10s

# The git revision that bench-check compares the working tree with.
BASE ?= HEAD

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets and the suites of tests.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Suites, for make test-suite SUITE=NAME, or make test-NAME (test/README.md says what each needs):'
	@scripts/test-suite

.PHONY: build
build: ## Build bin/stele, static and stripped.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/stele ./cmd/stele

.PHONY: run
run: ## Serve on 127.0.0.1:2379 from ./db/state.db.
	go run ./cmd/stele

.PHONY: test
test: ## Run the suites unit, short and bench, which takes about six minutes on two cores.
	$(MAKE) -j2 --output-sync=line test-unit prepare
	$(MAKE) -j2 --output-sync=target test-short test-bench

# Installing databases waits for the network and disks, and what is compiled here needs no race detector: both overlap
# with test-unit. It never fails, because the tests report what is missing.
.PHONY: prepare
prepare: PLAIN := CGO_ENABLED=0 GOFLAGS=-trimpath
prepare:
	-@scripts/databases get mariadb && scripts/databases get postgres && scripts/databases get pgbouncer
	-@$(PLAIN) nice go build -o /dev/null ./cmd/stele
	-@cd test && $(PLAIN) nice go build -o /dev/null $(addprefix go.etcd.io/etcd/,server/v3 etcdctl/v3 etcdutl/v3)
	-@cd test/bench && $(PLAIN) nice go build -o /dev/null ./...

.PHONY: test-unit
test-unit: ## Run the tests of the product's packages under the race detector.
	scripts/test-suite unit

.PHONY: test-suite
test-suite: ## Run the suite SUITE (crash), such as make test-suite SUITE=crash TIME=5m.
	scripts/test-suite $(SUITE)

# make test-NAME is make test-suite SUITE=NAME.
test-%:
	scripts/test-suite $*

.PHONY: fuzz-short
fuzz-short: ## Run every fuzz target for FUZZTIME (10s).
	scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## Measure Stele, etcd and kine on all databases, in about 15 minutes.
	cd test/bench && go run . -servers all -duration 1s

.PHONY: bench-quick
bench-quick: ## Run every workload of the benchmark for a moment, for figures not to be quoted.
	cd test/bench && go run . -quick -servers all

.PHONY: bench-docs
bench-docs: ## Measure and write the figures of docs/performance.md, in 90 minutes on a quiet machine.
	mkdir -p bin
	cd test/bench && go run . -servers all -sweep -large 100000 -rounds 5 -duration 1s -json ../../bin/bench.json
	cd test/bench && go run . -restart 100000,1000000 -json ../../bin/restart.json
	cd test/bench && go run . -render ../../bin/bench.json,../../bin/restart.json -docs ../../docs/performance.md

.PHONY: bench-check
bench-check: ## Compare the working tree with BASE (HEAD) in paired runs; BENCHFLAGS selects servers and workloads.
	cd test/bench && go run . -check '$(BASE)' $(BENCHFLAGS)

.PHONY: lint
lint: ## Run golangci-lint over every module, and check the repository's conventions.
	scripts/lint

.PHONY: fmt
fmt: ## Format all Go files.
	gofmt -l -w $$(git ls-files '*.go')

.PHONY: tidy
tidy: ## Run go mod tidy in every module.
	@for mod in $$(git ls-files '*.mod'); do \
		echo "tidy: $$mod"; (cd $$(dirname $$mod) && go mod tidy -modfile=$$(basename $$mod)) || exit 1; \
	done

.PHONY: clean
clean: ## Remove bin/stele.
	rm -f bin/stele
