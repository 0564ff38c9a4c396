package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

// plainBlocks are the blocks of commands without output, and how they are tested.
var plainBlocks = []struct{ commands, test string }{
	{"go run ./cmd/stele", "TestPages runs the first block of the README"},
	{"stele --endpoint=postgres://kube@db.example:5432/kube --datastore-password-file=password",
		"docs/databases.md has the same block"},
	{"make test", "make test includes this test"},
	{`make bench-quick      # two or three minutes: shows that it works, not to be quoted
make bench            # a quarter of an hour: all databases
make bench-docs       # an hour and a half: writes the figures and plots of this page`,
		"TestQuickRun, TestDatabases and TestPage in test/bench run each for seconds"},
	{`cd test/bench
go run . -servers all -sweep -large 100000 -rounds 5 -duration 1s -json ../../bin/bench.json
go run . -restart 100000,1000000 -json ../../bin/restart.json
go run . -render ../../bin/bench.json,../../bin/restart.json -docs ../../docs/performance.md`,
		"TestPage in test/bench writes such a page, TestRestart measures restarts"},
	{`make bench-check BASE=HEAD~1
make bench-check BASE=origin/main BENCHFLAGS='-servers stele-postgres -workloads put'`,
		"TestBuildRevision, TestJudge and TestChanges in test/bench test its parts"},
	{"etcdutl snapshot restore database.snapshot --data-dir etcd-data\netcd --data-dir etcd-data",
		"test/etcdctl runs the same commands"},
}

func TestPages(t *testing.T) {
	paths, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	etcdctl := process.Program{Name: "etcdctl", Package: "go.etcd.io/etcd/etcdctl/v3", Dir: "."}.Binary(t, t.TempDir())
	if err := os.Symlink(stele.Binary(t, t.TempDir(), false), filepath.Join(tools, "stele")); err != nil {
		t.Fatal(err)
	}
	// etcdctl without --endpoints connects to port 2379, which another program may use.
	wrapper := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *--endpoints*) ;; *) set -- --endpoints=$STELE_LISTEN_ADDRESS "+
		"\"$@\" ;; esac\nexec %s \"$@\"\n", etcdctl)
	if err := os.WriteFile(filepath.Join(tools, "etcdctl"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tools, "pg_ctl"), []byte(pgCtl), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, root+"/README.md") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			p, err := readPage(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range p.plain {
				if !isTestedElsewhere(block) {
					t.Errorf("no test runs %q: fence it as console, with its output", block)
				}
			}
			runPage(t, p, tools)
		})
	}
}

func isTestedElsewhere(block string) bool {
	return slices.ContainsFunc(plainBlocks, func(b struct{ commands, test string }) bool { return b.commands == block })
}

func runPage(t *testing.T, p *page, tools string) {
	t.Helper()
	if len(p.commands) == 0 {
		return
	}
	address := port.Free(t)
	_, free, _ := strings.Cut(address, ":")
	dir, err := os.MkdirTemp("", "docs") // short, for the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	env := []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C",
		"TMPDIR=" + t.TempDir(), "STELE_LISTEN_ADDRESS=" + address, "STELE_SOURCE_QUIET=0s",
		"STELE_BCRYPT_COST=4"} // hashing at the default cost takes seconds with the race detector
	if filepath.Base(p.name) == "README.md" {
		checkout(t, dir)
	}
	if filepath.Base(p.name) == "migrate.md" {
		kineTable(t, dir)
	}
	servers := startServers(t, p)
	for _, s := range servers {
		s.files(t, dir)
	}
	if len(servers) > 0 {
		// A server that a page starts as another user must be able to read its files.
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stopSecond(t, tools, dir) })
	}
	// These are the administrators' passwords, for the servers' own tools.
	env = append(env, "PGPASSWORD=admin", "MYSQL_PWD=admin")
	s, err := newShell(dir, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if filepath.Base(p.name) == "README.md" {
		if out, err := s.run("go run ./cmd/stele &", 3*time.Minute); err != nil {
			t.Fatalf("go run ./cmd/stele: %v\n%s", err, out)
		}
	}
	source := startEtcd(t, p)
	for _, c := range p.commands {
		text := strings.ReplaceAll(strings.ReplaceAll(c.text, etcdAddress, source), "2379", free)
		for _, s := range servers {
			text = s.real(text)
		}
		out, err := s.run(text, time.Minute)
		for _, s := range servers {
			out = s.shown(out)
		}
		out = strings.ReplaceAll(out, free, "2379")
		if err != nil {
			t.Fatalf("line %d: %s: %v\n%s", c.line, c.text, err, out)
		}
		if !matches(c.output, out) {
			t.Errorf("line %d: %s\nprinted\n%s\nand not, as shown,\n%s", c.line, c.text, out, c.output)
		}
	}
}

// checkout copies the repository to dir, so that commands leave no files in the original.
func checkout(t *testing.T, dir string) {
	t.Helper()
	from, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"go.mod", "go.sum", "cmd", "compactor", "drivers", "internal", "logstructured", "pkg", "server", "transfer",
	} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLinks checks that the links between the pages have a target.
func TestLinks(t *testing.T) {
	paths, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, root+"/README.md", root+"/CHANGELOG.md") {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(content), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			linked := path
			if target != "" {
				linked = filepath.Join(filepath.Dir(path), target)
			}
			there, err := os.ReadFile(linked)
			if err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
				continue
			}
			if anchor != "" && !hasHeading(string(there), anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, m[1])
			}
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		shown, got string
		want       bool
	}{
		{"", "", true},
		{"", "x\n", false},
		{"x\n", "", false},
		{"OK\n", "OK\n", true},
		{"OK\n", "\nOK\n\n", true},
		{"OK\n", "NOK\n", false},
		{"a\n...\nd\n", "a\nb\nc\nd\n", true},
		{"a\n...\nd\n", "a\nd\n", true},
		{"a\n...\nd\n", "a\nb\nc\n", false},
		{"...\n", "", true},
		{"...\n", "any\nthing\n", true},
		{"took ...\n", "took 3ms\n", true},
		{"took ...\n", "took 3ms\nmore\n", false},
		{"took ... in all\n", "took 3ms in all\n", true},
	} {
		if got := matches(test.shown, test.got); got != test.want {
			t.Errorf("%q shown, %q printed: %v", test.shown, test.got, got)
		}
	}
}
