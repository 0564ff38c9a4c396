package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/transfer/snapshot"
)

func TestExport(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	for i := range 20 {
		put(t, p.kv(), fmt.Sprint("key", i%5), "v")
	}
	file := filepath.Join(dir, "snapshot.db")
	run := func(code int, want string, args ...string) string {
		t.Helper()
		p := launch(t, dir, nil, append([]string{"export"}, args...)...)
		got := p.wait()
		out := p.stdout.String() + p.stderr.String()
		if got != code || !strings.Contains(out, want) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", args, got, code, want, out)
		}
		return out
	}
	run(1, "takes the name of the file")
	run(1, "takes the name of the file", file, file)
	other := filepath.Join(dir, "other.db")
	run(1, "--endpoint: stat "+other+": no such file or directory", "--endpoint=sqlite://"+other, file)
	if _, err := os.Stat(other); err == nil {
		t.Error("looking for a database made one")
	}
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run(1, "nothing to export", "--endpoint=sqlite://"+other, file)
	run(0, "nothing was written", "--dry-run", file)
	run(1, "no such file or directory", filepath.Join(dir, "missing", "snapshot.db"))
	const summary = "20 entries, 0 leases, revision 21, compact revision -1, hash "
	run(0, summary, file) // while the server runs
	run(1, "exists; name another file", file)
	p.stop()
	run(0, summary, file+"2")

	f, err := snapshot.Open(file, snapshot.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if n, err := f.Entries(); err != nil || n != 20 || f.Info().Revision != 21 {
		t.Errorf("%d entries, %+v, %v", n, f.Info(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*partial*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if stat, err := os.Stat(file); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("everybody may read the file: %v, %v", stat.Mode(), err)
	}
}
