package main

import (
	"strings"
	"testing"
)

func TestLeaseMode(t *testing.T) {
	dir := t.TempDir()
	run := func(code int, want string, args ...string) {
		t.Helper()
		p := launch(t, dir, []string{"STELE_ENDPOINT=sqlite://state.db"}, args...)
		if got := p.wait(); got != code || !strings.Contains(p.stdout.String()+p.stderr.String(), want) {
			t.Errorf("%q: exit code %d, want %d and %q", args, got, code, want)
		}
	}
	run(1, "no such file or directory; name the database that is served", "lease-mode", "etcd")
	run(0, "is up to date", "schema")
	run(0, "of mode etcd; converted keys: 0", "lease-mode", "etcd") // an empty database accepts either mode
	run(0, "of mode etcd; converted keys: 0", "lease-mode", "etcd")
	run(1, "start it with --lease-mode=etcd, or stop all servers and run `stele lease-mode ttl`",
		"--listen-address=127.0.0.1:0")
	run(0, "of mode ttl; converted keys: 0", "lease-mode", "ttl")
	run(1, "start it with --lease-mode=ttl, or stop all servers and run `stele lease-mode etcd`",
		"--listen-address=127.0.0.1:0", "--lease-mode=etcd")
	run(1, `lease mode "kine": it is ttl or etcd`, "lease-mode", "kine")
	run(1, "takes the mode and flags", "lease-mode")
}
