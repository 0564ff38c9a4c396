package etcdsuite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/etcdsuite/member"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
)

const (
	etcdTarget = "etcd"
	// testTimeout ends a test that hangs. The longest take a minute on an idle machine, and twice that on a busy one.
	testTimeout = 3 * time.Minute
)

// runner runs tests on one target.
type runner struct {
	*source
	target   string
	expected expectations
	etcd     string
	stele    string
	// serial is held by tests that use fixed ports.
	serial sync.Mutex

	mu     sync.Mutex
	counts map[string]int
}

// TestSuites runs etcd's tests: TestSuites/SUITE/TEST.
func TestSuites(t *testing.T) {
	r := newRunner(t)
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			binary, err := r.build(s)
			if err != nil {
				t.Fatal(err)
			}
			names, err := r.list(s, binary)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r.check(t, s, binary, name)
				})
			}
		})
	}
	t.Logf("%s: %v", r.target, r.counts)
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	source, err := newSource(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{source: source, target: stele.Kind(), counts: map[string]int{}}
	if r.expected, err = readExpectations("expected.txt"); err != nil {
		t.Fatal(err)
	}
	r.etcd = etcd.Binary(t, t.TempDir())
	if r.target != etcdTarget {
		r.stele = stele.Binary(t, t.TempDir(), false)
	}
	for name, pkg := range map[string]string{
		"shim":    "./shim",
		"etcdctl": "go.etcd.io/etcd/etcdctl/v3",
		"etcdutl": "go.etcd.io/etcd/etcdutl/v3",
	} {
		if _, err := r.program(name, pkg); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// check runs a test and compares its outcome with the expected one.
func (r *runner) check(t *testing.T, s suite, binary, name string) {
	if s.serial {
		r.serial.Lock()
		defer r.serial.Unlock()
	}
	if reason, ok := r.expected.foreign(s.name, name); ok && r.target != etcdTarget {
		r.count("not for another process")
		t.Skip(reason)
	}
	expected := r.expected.of(s.name, name, r.target)
	o := r.run(t, s, binary, name)
	if len(expected.unexpected(o.failed)) > 0 {
		t.Logf("again, since it failed: %v", o.failed)
		o = r.run(t, s, binary, name)
	}
	switch {
	case !o.started && len(o.failed) == 0:
		r.count("without a server")
		t.Skip("the test starts no server")
	case o.skipped:
		r.count("skipped")
		t.Skip("the test skips itself")
	case len(o.failed) > 0:
		r.count("failed")
	default:
		r.count("passed")
	}
	for _, test := range expected.unexpected(o.failed) {
		t.Errorf("%s failed", test)
	}
	if t.Failed() || os.Getenv("STELE_TEST_LOG") != "" {
		t.Log(o.text)
	}
	for _, x := range expected.passed(r.target, o.failed) {
		t.Errorf("%s passed: change expected.txt", x.test)
	}
}

func (r *runner) count(outcome string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[outcome]++
}

// outcome is the result of a test.
type outcome struct {
	// failed are the tests that failed and have no failed tests below them.
	failed []string
	// skipped is whether the whole test was skipped, and started whether it started a server.
	skipped, started bool
	text             string
}

// run runs one test as a process in a directory of its own.
func (r *runner) run(t *testing.T, s suite, binary, name string) outcome {
	// The paths of sockets must be short.
	dir, err := os.MkdirTemp("", "es")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout+10*time.Second)
	defer cancel()
	bin, target := filepath.Join(dir, "bin"), r.dsn(t)
	if err := r.wrap(bin, dir, target); err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run", "^" + regexp.QuoteMeta(name) + "$", "-test.v", "-test.timeout", testTimeout.String()}
	if s.tags == "e2e" {
		args = append(args, "-bin-dir", bin)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(r.tests(), s.dir)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir,
		member.Binary+"="+filepath.Join(bin, "etcd"), member.Target+"="+target)
	// Servers that a test leaves behind are of its process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	_, missing := os.Stat(filepath.Join(dir, "started"))
	o := read(name, string(out), err != nil)
	o.started = missing == nil
	if log, err := os.ReadFile(filepath.Join(dir, member.Log)); err == nil && os.Getenv("STELE_TEST_LOG") != "" {
		o.text += fmt.Sprintf("\nthe servers' log:\n%s", log)
	}
	return o
}

// wrap makes the directory of programs for a test. The end-to-end tests run them without the environment, so that the
// shim's is in a script.
func (r *runner) wrap(bin, tmp, target string) error {
	if err := os.Mkdir(bin, 0o700); err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nexport TMPDIR='%s' %s='%s' ETCDSUITE_ETCD='%s' ETCDSUITE_STELE='%s'\n"+
		"exec '%s' \"$@\"\n",
		tmp, member.Target, target, r.etcd, r.stele, filepath.Join(r.dir, "bin", "shim"))
	return errors.Join(
		os.WriteFile(filepath.Join(bin, "etcd"), []byte(script), 0o700),
		os.Symlink(filepath.Join(r.dir, "bin", "etcdctl"), filepath.Join(bin, "etcdctl")),
		os.Symlink(filepath.Join(r.dir, "bin", "etcdutl"), filepath.Join(bin, "etcdutl")),
	)
}

// dsn returns the value of [member.Target].
func (r *runner) dsn(t *testing.T) string {
	if r.target == etcdTarget || r.target == stele.SQLite {
		return r.target
	}
	return database.Shared(t, r.target).DSN(t)
}

var result = regexp.MustCompile(`(?m)^ *--- (FAIL|SKIP): (\S+)`)

// read finds the outcome in the output of a test process.
func read(name, text string, failed bool) outcome {
	o := outcome{text: text}
	found := map[string]bool{}
	for _, m := range result.FindAllStringSubmatch(text, -1) {
		if m[1] == "FAIL" {
			found[m[2]] = true
		} else if m[2] == name {
			o.skipped = true
		}
	}
	for test := range maps.Clone(found) {
		for i, c := range test {
			if c == '/' {
				delete(found, test[:i])
			}
		}
	}
	o.failed = slices.Sorted(maps.Keys(found))
	// It panicked, took too long, or left goroutines behind.
	if failed && len(o.failed) == 0 {
		o.failed = []string{name}
	}
	return o
}
