package up

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/port"
)

// TestUp starts a control plane, runs the commands that the script prints, and continues with the same data after a
// stop.
func TestUp(t *testing.T) {
	p := newPlane(t)
	begin := time.Now()
	out, err := p.run(t, "--detach", "--nodes=4")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("up in %v\n%s", time.Since(begin).Round(time.Second), out)
	pids := p.processes(t)
	if len(pids) != 5 {
		t.Fatalf("running are %v, want five programs", pids)
	}

	lines := printed(out)
	got := shell(t, lines)
	for text, n := range map[string]int{" Ready ": 4, "successfully rolled out": 1, " Running ": 5, "deleted": 1} {
		if strings.Count(got, text) != n {
			t.Errorf("the lines to try print %q %d times, want %d:\n%s", text, strings.Count(got, text), n, got)
		}
	}
	export := lines[:2]
	shell(t, append(export, "kubectl create deployment kept --image=kept --replicas=2",
		"kubectl rollout status deployment kept"))

	if again, err := p.run(t); err == nil || !strings.Contains(again, "running already") ||
		!strings.Contains(again, "--down") {
		t.Errorf("a second start answers %v:\n%s", err, again)
	}
	if out, err := p.command("--down", "--data-dir", p.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.requireGone(t, pids)

	// The second start is in the foreground, on the same data and port.
	s := p.foreground(t, "Stop it with Ctrl-C", "--nodes=4")
	pids = p.processes(t)
	if later := printed(s.output()); later[0] != export[0] {
		t.Errorf("the second start says %q, the first one %q", later[0], export[0])
	}
	got = shell(t, append(export, "kubectl rollout status deployment kept", "kubectl get deployment kept"))
	if !strings.Contains(got, "2/2") {
		t.Errorf("the deployment did not stay:\n%s", got)
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t); code != 130 {
		t.Errorf("after Ctrl-C the script ended with %d\n%s", code, s.output())
	}
	p.requireGone(t, pids)
}

// printed returns the indented lines of the output, which are commands to try.
func printed(out string) []string {
	var lines []string
	for line := range strings.Lines(out) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			lines = append(lines, strings.TrimSpace(command))
		}
	}
	return lines
}

// shell runs lines, which must succeed, and returns their output.
func shell(t *testing.T, lines []string) string {
	t.Helper()
	cmd := exec.Command("timeout", "180", "bash", "-euxo", "pipefail", "-c", strings.Join(lines, "\n"))
	cmd.Env = environment("HOME=" + t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestEnds ends a control plane in two other ways: by a signal while it starts, and by the death of a program.
func TestEnds(t *testing.T) {
	p := newPlane(t)
	s := p.foreground(t, "kube-apiserver")
	pids := p.processes(t)
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t); code != 130 {
		t.Errorf("after Ctrl-C the script ended with %d\n%s", code, s.output())
	}
	p.requireGone(t, pids)

	s = p.foreground(t, "Stop it with Ctrl-C")
	pids = p.processes(t)
	if err := syscall.Kill(pids["kube-scheduler"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t); code != 1 || !strings.Contains(s.output(), "kube-scheduler has ended") {
		t.Errorf("after a program had ended the script ended with %d\n%s", code, s.output())
	}
	p.requireGone(t, pids)
}

// TestRefused runs invalid configurations and checks that the error names the fix.
func TestRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, takenPort, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"option":      {[]string{"--node=3"}, []string{"--node is no option", "--help"}},
		"number":      {[]string{"--nodes=many"}, []string{"many is not a number"}},
		"no value":    {[]string{"--nodes"}, []string{"--nodes needs a value"}},
		"no programs": {[]string{"--bin", empty}, []string{"has no stele", "test/kubernetes/build"}},
		"no bin":      {[]string{"--bin", file}, []string{"there is no directory"}},
		"port":        {[]string{"--port", takenPort}, []string{"something listens on", "give another one"}},
		"endpoint": {[]string{"--datastore-endpoint", "oracle://x"},
			[]string{"stele has ended", "oracle", "docs/databases.md"}},
		"database": {[]string{"--datastore-endpoint", "postgres://kube@" + port.Free(t) + "/kube"},
			[]string{"cannot open the database", "not after 30 seconds", "docs/databases.md"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t)
			out, err := p.command(append([]string{"--data-dir", p.dir, "--bin", p.bin},
				test.args...)...).CombinedOutput()
			if err == nil {
				t.Errorf("it started:\n%s", out)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the error does not say %q:\n%s", want, out)
				}
			}
			p.requireGone(t, nil)
		})
	}
}
