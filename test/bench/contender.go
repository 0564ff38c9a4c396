package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// contender is a server that can be compared.
type contender struct {
	name string
	// title is how reports call it.
	title string
	// durable tells whether every acknowledged write was synced.
	durable bool
	// pkg is the main package to build, in the module at source.
	pkg string
	// cgo is CGO_ENABLED: each server is built as its own makers build it.
	cgo    string
	source func(settings) string
	// binary, if not nil and not empty, is run instead of building one.
	binary func(settings) string
	// args starts it with its data in dir. peer is a second free address, for those that insist on one.
	args func(dir, address, peer string) []string
}

func benchModule(settings) string { return "." }

// kineEndpoint: the parameters are kine's own defaults but for the synchronous level.
func kineEndpoint(dir, synchronous string) string {
	return "sqlite://" + filepath.Join(dir, "state.db") +
		"?_journal_mode=WAL&_busy_timeout=30000&_synchronous=" + synchronous + "&_txlock=immediate&_stmt_cache_size=20&cache=shared"
}

func steleArgs(dir, address, _ string) []string {
	return []string{"--listen-address", address, "--endpoint", "sqlite://" + filepath.Join(dir, "state.db")}
}

func kine(name, title, synchronous string, durable bool) contender {
	return contender{
		name: name, title: title, durable: durable,
		pkg: "github.com/k3s-io/kine", cgo: "1", source: benchModule,
		args: func(dir, address, _ string) []string {
			return []string{"--listen-address", "tcp://" + address, "--endpoint", kineEndpoint(dir, synchronous), "--metrics-bind-address", "0"}
		},
	}
}

var contenders = []contender{
	{
		name: "stele", title: "Stele, SQLite", durable: true,
		binary: func(s settings) string { return s.binary },
		pkg:    "./cmd/stele", cgo: "0", source: func(s settings) string { return s.source }, args: steleArgs,
	},
	{
		name: "etcd", title: "etcd", durable: true,
		pkg: "go.etcd.io/etcd/server/v3", cgo: "0", source: benchModule,
		args: func(dir, address, peer string) []string {
			// Everything that bears on speed and durability stays at etcd's default.
			return []string{
				"--name", "bench", "--data-dir", filepath.Join(dir, "etcd"), "--log-level", "error",
				"--listen-client-urls", "http://" + address, "--advertise-client-urls", "http://" + address,
				"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
				"--initial-cluster", "bench=http://" + peer,
			}
		},
	},
	{
		name: "stele-baseline", title: "Stele, SQLite, the baseline binary", durable: true,
		binary: func(s settings) string { return s.baseline }, args: steleArgs,
	},
	kine("kine", "kine, SQLite FULL", "FULL", true),
	kine("kine-unsynced", "kine, SQLite default (commits not synced)", "NORMAL", false),
}

func selectContenders(names []string) ([]contender, error) {
	var selected []contender
	for _, name := range names {
		found := false
		for _, c := range contenders {
			if c.name == name {
				selected, found = append(selected, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("unknown server %q", name)
		}
	}
	return selected, nil
}

// build puts c's binary into dir and returns its path and version. What was built already is not built again.
func (c contender) build(ctx context.Context, s settings, dir string) (path, version string, err error) {
	if c.binary != nil {
		if given := c.binary(s); given != "" {
			path, err = filepath.Abs(given)
			return path, "given binary", err
		}
	}
	path = filepath.Join(dir, filepath.Base(filepath.Dir(c.pkg))+"-"+filepath.Base(c.pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, c.pkg)
	cmd.Dir = c.source(s)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+c.cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("build %s: %w\n%s", c.title, err, out)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", "", fmt.Errorf("read the build information of %s: %w", c.title, err)
	}
	version = info.Main.Version
	if version == "" || version == "(devel)" {
		version = gitVersion(ctx, cmd.Dir)
	}
	return path, version, nil
}

// gitVersion names the commit in dir; not to know it is no reason to stop.
func gitVersion(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
