package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// contender is a server that can be compared.
type contender struct {
	name string
	// title is its name in reports.
	title string
	// durable is true if the server syncs every acknowledged write.
	durable bool
	// database is the kind of its database server in scripts/databases; empty if it needs none.
	database string
	// gaps is true if revisions come from the database's own counter, which may skip some: the revision may grow by
	// more than the number of writes.
	gaps bool
	// only, if not nil, selects the workloads that it serves.
	only *regexp.Regexp
	// batches is true if the server accepts transactions of many puts, by which objects are stored quickly.
	batches bool
	// replicas is the number of processes that share the database; 0 means 1.
	replicas int
	// pkg is the main package to build, in the module at source.
	pkg string
	// cgo is CGO_ENABLED: each server is built as its own project builds it.
	cgo    string
	source func(settings) string
	// binary, if not nil and not empty, is run instead of building one.
	binary func(settings) string
	args   func(place) []string
}

// place has the parameters of one process of a contender.
type place struct {
	// dir is the directory of its data.
	dir string
	// address is its listen address; peer is a second free address, for servers that require one.
	address, peer string
	// dsn is its database, if the contender has one.
	dsn string
	// replica is its number among the processes that share the database, from 1.
	replica int
}

func (c contender) processes() int { return max(1, c.replicas) }

// floor is the name of the contender whose speed no server of etcd's API can exceed.
const floor = "grpc"

const (
	postgres = "postgres"
	mariadb  = "mariadb"
)

// databaseTitles are the names in reports of the kinds of scripts/databases.
var databaseTitles = map[string]string{postgres: "PostgreSQL", mariadb: "MariaDB"}

func benchModule(settings) string { return "." }

func stele(c contender) contender {
	c.durable, c.batches, c.pkg, c.cgo = true, true, "./cmd/stele", "0"
	c.source = func(s settings) string { return s.source }
	if c.binary == nil {
		c.binary = func(s settings) string { return s.binary }
	}
	c.args = func(p place) []string {
		endpoint := p.dsn
		if endpoint == "" {
			endpoint = "sqlite://" + filepath.Join(p.dir, "state.db")
		}
		return []string{
			"--listen-address", p.address, "--endpoint", endpoint, "--name", fmt.Sprintf("replica-%d", p.replica),
		}
	}
	return c
}

// baselineSuffix is appended to the name of Stele for another build of it.
const baselineSuffix = "-baseline"

func baselineBinary(s settings) string { return s.baseline }

func kine(c contender, endpoint func(place) string, options ...string) contender {
	c.pkg, c.cgo, c.source = "github.com/k3s-io/kine", "1", benchModule
	c.args = func(p place) []string {
		return append([]string{"--listen-address", "tcp://" + p.address, "--endpoint", endpoint(p),
			"--metrics-bind-address", "0"}, options...)
	}
	return c
}

// kineSQLite returns kine's default parameters with another synchronous level.
func kineSQLite(synchronous string) func(place) string {
	return func(p place) string {
		return "sqlite://" + filepath.Join(p.dir, "state.db") +
			"?_journal_mode=WAL&_busy_timeout=30000&_synchronous=" + synchronous +
			"&_txlock=immediate&_stmt_cache_size=20&cache=shared"
	}
}

// kinePool bounds kine's connections. Without a bound kine opens one for each of 256 clients, more than the server
// accepts, and keeps only 20 of them, so that most requests open a new one. With much lower bounds kine hangs on
// Postgres: requests wait until their deadline for connections that others hold (seen with 64 clients on 20 connections
// and with 256 on 64).
var kinePool = []string{"--datastore-max-open-connections", "300", "--datastore-max-idle-connections", "300"}

// onDatabase returns the contenders on a database server.
func onDatabase(kind string) []contender {
	title := databaseTitles[kind]
	all := []contender{
		stele(contender{name: "stele-" + kind, title: "Stele, " + title, database: kind}),
		stele(contender{name: "stele-" + kind + baselineSuffix, title: "Stele, " + title + ", the baseline binary",
			database: kind, binary: baselineBinary}),
		kine(contender{name: "kine-" + kind, title: "kine, " + title, durable: true, database: kind, gaps: true},
			func(p place) string { return p.dsn }, kinePool...),
	}
	for n := 2; n <= 3; n++ {
		all = append(all, stele(contender{
			name: fmt.Sprintf("stele-%s-%d", kind, n), title: fmt.Sprintf("Stele, %d replicas on one %s", n, title),
			database: kind, replicas: n,
		}))
	}
	return all
}

var contenders = append([]contender{
	stele(contender{name: "stele", title: "Stele, SQLite"}),
	{
		name: "etcd", title: "etcd", durable: true, batches: true,
		pkg: "go.etcd.io/etcd/server/v3", cgo: "0", source: benchModule,
		args: func(p place) []string {
			// All settings that affect speed and durability keep etcd's defaults. A million keys exceed its default
			// quota.
			return []string{
				"--quota-backend-bytes", strconv.Itoa(8 << 30),
				"--name", "bench", "--data-dir", filepath.Join(p.dir, "etcd"), "--log-level", "error",
				"--listen-client-urls", "http://" + p.address, "--advertise-client-urls", "http://" + p.address,
				"--listen-peer-urls", "http://" + p.peer, "--initial-advertise-peer-urls", "http://" + p.peer,
				"--initial-cluster", "bench=http://" + p.peer,
			}
		},
	},
	{
		name: floor, title: "gRPC alone (a map in memory)", only: regexp.MustCompile(`^(get|put)-\d+$`),
		pkg: "./echo", cgo: "0", source: benchModule,
		args: func(p place) []string { return []string{"--listen-address", p.address} },
	},
	stele(contender{
		name: "stele" + baselineSuffix, title: "Stele, SQLite, the baseline binary", binary: baselineBinary,
	}),
	kine(contender{name: "kine", title: "kine, SQLite FULL", durable: true}, kineSQLite("FULL")),
	kine(contender{name: "kine-unsynced", title: "kine, SQLite default (commits not synced)"}, kineSQLite("NORMAL")),
}, append(onDatabase(postgres), onDatabase(mariadb)...)...)

func selectContenders(names []string) ([]contender, error) {
	var selected []contender
	for _, name := range names {
		c, ok := findContender(name)
		if !ok {
			return nil, fmt.Errorf("unknown server %q", name)
		}
		selected = append(selected, c)
	}
	return selected, nil
}

func findContender(name string) (contender, bool) {
	for _, c := range contenders {
		if c.name == name {
			return c, true
		}
	}
	return contender{}, false
}

// build builds c's binary in dir and returns its path and version. It builds each binary once.
func (c contender) build(ctx context.Context, s settings, dir string) (path, version string, err error) {
	if c.binary != nil {
		if given := c.binary(s); given != "" {
			path, err = filepath.Abs(given)
			return path, "given binary", err
		}
	}
	path = filepath.Join(dir, filepath.Base(filepath.Dir(c.pkg))+"-"+filepath.Base(c.pkg))
	source := c.source(s)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, c.pkg)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+c.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("build %s: %w\n%s", c.title, err, out)
		}
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", "", fmt.Errorf("read the build information of %s: %w", c.title, err)
	}
	version = info.Main.Version
	if version == "" || version == "(devel)" {
		version = gitVersion(ctx, source)
	}
	return path, version, nil
}

// gitVersion returns the name of the commit in dir, or "" if that is unknown.
func gitVersion(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
