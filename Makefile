# `make help` lists the targets. Every one of them runs without a terminal, on loopback, in temporary directories.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
PKG     := github.com/stele-db/stele
LDFLAGS := -s -w -X $(PKG)/pkg/version.Version=$(VERSION) -X $(PKG)/pkg/version.GitCommit=$(COMMIT)

# How long the longer runs take.
FUZZTIME ?= 10s
CRASHTIME ?= 5m
SOAKTIME ?= 5m
FAULTTIME ?= 30s
MIGRATEROWS ?= 1000000
LEASES ?= 100000

# Which of the drivers' tests test-drivers runs.
DRIVERTESTS ?= .

# Which of the programs test-programs runs.
PROGRAMS ?= .

# The databases that test-engines runs on.
ENGINES ?= mysql mariadb-11.8 postgres-13 postgres-17 postgres-18 tidb

# What etcd's own tests run against: etcd, sqlite, postgres, mariadb.
ETCDSUITE_TARGETS ?= sqlite

# What the API server's storage tests run against; each result must be that of etcd, when etcd is among them.
APISERVER_TARGETS ?= etcd sqlite postgres mariadb postgres:3

# Many of the tests wait more than they compute: `go test -p 3` keeps two cores busy.

# A program that was built with the race detector sleeps for a second when it ends, unless told otherwise.
export GORACE ?= atexit_sleep_ms=100

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/stele, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/stele ./cmd/stele

.PHONY: run
run: ## serve on 127.0.0.1:2379 from ./db/state.db
	go run ./cmd/stele

.PHONY: test
test: test-unit ## what is short of everything below, with the race detector
	$(MAKE) -j2 --output-sync=target test-blackbox test-bench

.PHONY: test-unit
test-unit: ## the product's own tests, and what operations may allocate (which the race detector would change)
	go test -race -p 3 -timeout 9m ./...
	go test -count=1 -run '^TestAllocations$$' ./server

# The judge of histories judges under the race detector in the first command. Its own tests would take ten times as long there.
.PHONY: test-blackbox
test-blackbox: ## the binary beside a real etcd: differential, kill -9, faults, replicas, documentation (short runs)
	cd test && STELE_TEST_DIFF_SEEDS=2 STELE_TEST_CRASH_DURATION=6s go test -race -p 3 -count=1 -timeout 9m -skip '^TestJudge' ./...
	cd test && go test -count=1 -run '^TestJudge' ./crash

.PHONY: test-databases-short test-mariadb-short test-postgres-short
test-databases-short: ## etcd's rules and some random requests on MariaDB, and on PostgreSQL with three replicas (without -race: it is in the others)
	$(MAKE) -j2 --output-sync=target test-mariadb-short test-postgres-short

test-mariadb-short:
	cd test && STELE_TEST_DATABASE=mariadb go test -count=1 -timeout 9m ./semantics
	cd test && STELE_TEST_DATABASE=mariadb STELE_TEST_DIFF_SEEDS=1 STELE_TEST_DIFF_REQUESTS=600 STELE_TEST_DIFF_ROUNDS=12 go test -count=1 -timeout 9m -run '^Test(Requests|Watch)$$' ./differential

test-postgres-short:
	cd test && STELE_TEST_DATABASE=postgres STELE_TEST_REPLICAS=3 go test -count=1 -timeout 9m ./semantics
	cd test && STELE_TEST_DATABASE=postgres STELE_TEST_REPLICAS=3 STELE_TEST_DIFF_SEEDS=1 STELE_TEST_DIFF_REQUESTS=600 STELE_TEST_DIFF_ROUNDS=12 go test -count=1 -timeout 9m -run '^Test(Requests|Watch)$$' ./differential

.PHONY: test-bench
test-bench: ## the tests of the benchmark itself
	cd test/bench && go test -count=1 -timeout 9m ./...

.PHONY: test-drivers
test-drivers: ## the conformance tests of the drivers, on a Galera cluster and through PgBouncer too
	STELE_TEST_GALERA=1 STELE_TEST_PGBOUNCER=1 go test -race -v -count=1 -timeout 60m -run '$(DRIVERTESTS)' ./drivers/...

.PHONY: test-databases
test-databases: ## the rules, the black-box and the differential tests on PostgreSQL, on MariaDB, and with three replicas on PostgreSQL
	cd test && STELE_TEST_DATABASE=postgres go test -race -v -count=1 -timeout 60m ./semantics ./clients ./differential
	cd test && STELE_TEST_DATABASE=mariadb go test -race -v -count=1 -timeout 60m ./semantics ./clients ./differential
	cd test && STELE_TEST_DATABASE=postgres STELE_TEST_REPLICAS=3 go test -race -v -count=1 -timeout 60m ./semantics ./clients ./differential

.PHONY: test-engines
test-engines: ## conformance tests and etcd's rules on other databases and versions (ENGINES: see scripts/database-programs), which it downloads or builds; about half an hour
	scripts/test-engines $(ENGINES)

.PHONY: test-replicas
test-replicas: ## what several replicas promise, measured and asserted: needs a quiet machine
	cd test && STELE_TEST_MEASURE=1 go test -v -count=1 -timeout 30m ./replicas

.PHONY: test-leases
test-leases: ## LEASES (100,000) leases of mode etcd on SQLite, PostgreSQL and MariaDB: grants, keep-alives, a restart, expiry; 2 minutes each
	cd test && for database in sqlite postgres mariadb; do STELE_TEST_DATABASE=$$database STELE_TEST_LEASES=$(LEASES) go test -v -count=1 -timeout 30m ./leases || exit 1; done

.PHONY: test-faults
test-faults: ## three replicas on Postgres, MariaDB, a synchronous standby and Galera, while each of them fails, for FAULTTIME (30s) each; about 20 minutes
	cd test && STELE_TEST_FAULT_DURATION=$(FAULTTIME) go test -tags faults -v -count=1 -timeout 90m ./faults

.PHONY: test-docs
test-docs: ## run the commands of README.md and docs/ (part of test-blackbox)
	cd test && go test -count=1 ./docs

.PHONY: test-etcdctl
test-etcdctl: ## a session of every command of etcdctl beside etcd, and snapshots that an etcd goes on with (part of test-blackbox), under 2 minutes
	cd test && go test -v -count=1 -timeout 9m ./etcdctl

.PHONY: test-differential
test-differential: ## random requests to Stele and etcd, answers compared, 20 seeds
	cd test && STELE_TEST_DIFF_SEEDS=20 go test -v -count=1 -timeout 60m ./differential

.PHONY: test-crash
test-crash: ## linearizability and watches under kill -9, for CRASHTIME (5m) each with one and two processes
	cd test && STELE_TEST_CRASH_DURATION=$(CRASHTIME) go test -v -count=1 -timeout 60m -run '^Test(One|Two)$$' ./crash

.PHONY: test-election
test-election: ## a leader elected by client-go through a kube-apiserver on Stele, while the leader and Stele are killed; 2 minutes
	test/kubernetes/build
	cd test/kubernetes && CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 20m ./election

.PHONY: test-kubernetes-up
test-kubernetes-up: ## scripts/kubernetes-up as a newcomer uses it, and the commands of docs/kubernetes.md; 4 minutes
	test/kubernetes/build
	cd test/kubernetes && CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 30m ./up

.PHONY: test-programs test-programs-short
test-programs: ## programs of other projects on Stele beside etcd, see docs/programs.md; PROGRAMS (.) is a pattern of tests
	cd test && STELE_TEST_PROGRAMS=all go test -v -count=1 -timeout 60m -run '$(PROGRAMS)' ./programs

test-programs-short: ## those of them that take seconds
	cd test && STELE_TEST_PROGRAMS=short go test -v -count=1 -timeout 20m ./programs

.PHONY: test-yurthub
test-yurthub: ## the storage of OpenYurt's yurthub on SQLite (beside etcd), or on STELE_TEST_DATABASE
	cd test/yurthub && CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 20m ./...

.PHONY: test-etcdsuite
test-etcdsuite: ## etcd's own integration and end-to-end tests on ETCDSUITE_TARGETS (SQLite), about 40 minutes each
	cd test/etcdsuite && for target in $(ETCDSUITE_TARGETS); do STELE_TEST_DATABASE=$$target go test -vet=off -v -parallel 2 -count=1 -timeout 90m . || exit 1; done

.PHONY: test-apiserver
test-apiserver: ## the API server's own storage tests on APISERVER_TARGETS (etcd, SQLite, PostgreSQL, MariaDB, three replicas), about 8 minutes
	cd test/apiserver && CGO_ENABLED=0 go test -vet=off -count=1 ./run
	cd test/apiserver && CGO_ENABLED=0 go run -trimpath ./run $(APISERVER_TARGETS)

.PHONY: test-apiserver-next
test-apiserver-next: ## the same of Kubernetes 1.37, which lists by etcd's RangeStream
	cd test/apiserver && CGO_ENABLED=0 go run -trimpath ./run -next $(APISERVER_TARGETS)

.PHONY: test-embed
test-embed: ## a program that embeds kine beside the same one on Stele; the first build of kine takes minutes
	cd test/embed && CGO_ENABLED=0 go test -v -count=1 -timeout 20m .

.PHONY: test-embed-kubernetes
test-embed-kubernetes: ## the same, and a kube-apiserver on the socket of such a program (builds Kubernetes if need be)
	cd test/embed && CGO_ENABLED=0 go test -tags kubernetes -v -count=1 -timeout 40m .

.PHONY: test-migrate test-migrate-short
test-migrate: ## tables that a real kine wrote, imported from and into each database; MIGRATEROWS (1000000) rows for the time; about 10 minutes
	cd test/migrate && STELE_TEST_MIGRATE=all STELE_TEST_MIGRATE_ROWS=$(MIGRATEROWS) CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 60m .

test-migrate-short: ## the same with fewer pairs and rows, about 2 minutes
	cd test/migrate && CGO_ENABLED=0 go test -vet=off -count=1 -timeout 20m .

.PHONY: test-soak
test-soak: ## memory, file size, a million keys, a full disk; the soak itself for SOAKTIME (5m)
	cd test && STELE_TEST_SOAK_DURATION=$(SOAKTIME) go test -tags soak -v -count=1 -timeout 60m ./soak

.PHONY: test-kubernetes
test-kubernetes: ## a whole control plane of Kubernetes on SQLite, PostgreSQL, MariaDB and three replicas, about 20 minutes; see test/kubernetes/README.md
	test/kubernetes/build
	cd test/kubernetes && STELE_TEST_KUBERNETES_BIN=$(CURDIR)/test/kubernetes/bin STELE_TEST_KUBERNETES=sqlite,postgres,mariadb,replicas CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 90m -run '^TestControlPlane$$' .

.PHONY: test-migrate-kubernetes
test-migrate-kubernetes: ## an API server that goes on where it was when its store is moved from kine, from an etcd's snapshot, and from a running etcd; 2 minutes
	test/kubernetes/build
	cd test/kubernetes && STELE_TEST_KUBERNETES_BIN=$(CURDIR)/test/kubernetes/bin CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 30m -run '^TestMigration$$' .

.PHONY: test-kubernetes-sqlite
test-kubernetes-sqlite: ## the same on SQLite alone, about 4 minutes
	test/kubernetes/build
	cd test/kubernetes && STELE_TEST_KUBERNETES_BIN=$(CURDIR)/test/kubernetes/bin STELE_TEST_KUBERNETES=sqlite CGO_ENABLED=0 go test -vet=off -v -count=1 -timeout 30m -run '^TestControlPlane$$' .

.PHONY: bench
bench: ## Stele beside etcd and kine on SQLite, PostgreSQL and MariaDB, about a quarter of an hour; see test/bench/README.md
	cd test/bench && go run . -servers all -duration 1s

.PHONY: bench-quick
bench-quick: ## the same in two or three minutes: shows that it works, not to be quoted
	cd test/bench && go run . -quick -servers all

.PHONY: bench-docs
bench-docs: ## the summary and the figures of docs/performance.md, about an hour and a half on a quiet machine
	mkdir -p bin
	cd test/bench && go run . -servers all -sweep -large 100000 -rounds 5 -duration 1s -json ../../bin/bench.json
	cd test/bench && go run . -restart 100000,1000000 -json ../../bin/restart.json
	cd test/bench && go run . -render ../../bin/bench.json,../../bin/restart.json -docs ../../docs/performance.md

# What bench-check compares the working tree with.
BASE ?= HEAD

.PHONY: bench-check
bench-check: ## is the working tree slower or costlier than BASE (a git revision; the last commit)? paired runs on SQLite, about 5 minutes; BENCHFLAGS='-servers stele-postgres' elsewhere
	cd test/bench && go run . -check '$(BASE)' $(BENCHFLAGS)

.PHONY: lint
lint: ## golangci-lint over every module (the first run builds it)
	scripts/lint

.PHONY: fmt
fmt: ## gofmt the whole tree
	gofmt -l -w cmd compactor drivers logstructured pkg server transfer test

.PHONY: tidy
tidy: ## go mod tidy in every module
	go mod tidy
	cd test && go mod tidy
	cd test/bench && go mod tidy
	cd test/embed && go mod tidy
	cd test/migrate && go mod tidy
	cd test/apiserver && go mod tidy && go mod tidy -modfile=kubernetes137.mod
	cd test/kubernetes && go mod tidy
	cd test/kubernetes/programs && go mod tidy
	cd test/kubernetes/kwok && go mod tidy
	cd test/kubernetes/kubeadm && go mod tidy
	cd test/yurthub && go mod tidy
	cd test/programs/gozero && go mod tidy
	cd test/programs/vault && go mod tidy
	cd test/programs/coredns && go mod tidy
	cd test/programs/benchmark && go mod tidy
	cd test/programs/grpcurl && go mod tidy
	cd test/etcdsuite && go mod tidy

.PHONY: fuzz-short
fuzz-short: ## every fuzz target for FUZZTIME (10s)
	scripts/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin/stele dist
