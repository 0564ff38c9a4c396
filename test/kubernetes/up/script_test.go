package up

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/stele"
)

// plane is a control plane in a directory.
type plane struct {
	dir, bin string
	args     []string
}

// newPlane prepares a control plane, which it stops at the end of the test.
func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{dir: filepath.Join(t.TempDir(), "a plane"), bin: programs(t)}
	p.args = []string{"--data-dir", p.dir, "--bin", p.bin}
	if stele.Kind() != stele.SQLite {
		p.args = append(p.args, "--datastore-endpoint", stele.Database(t, ""))
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.logs(t)
		}
		if _, err := os.Stat(p.dir); err == nil {
			if out, err := p.command("--down", "--data-dir", p.dir).CombinedOutput(); err != nil {
				t.Errorf("stop: %v\n%s", err, out)
			}
		}
	})
	return p
}

func (p *plane) command(args ...string) *exec.Cmd {
	cmd := exec.Command(root+"/scripts/kubernetes-up", args...)
	// The script ends the programs when this process ends, for any reason.
	cmd.Env = environment("KUBERNETES_OWNER=" + strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = group()
	return cmd
}

// run runs the script and returns its output.
func (p *plane) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := p.command(append(args, p.args...)...).CombinedOutput()
	return string(out), err
}

// script is a run of the script in the foreground.
type script struct {
	cmd    *exec.Cmd
	exited chan struct{}
	mu     sync.Mutex
	text   strings.Builder
}

// foreground starts the script and waits until it prints a line that begins with line.
func (p *plane) foreground(t *testing.T, line string, args ...string) *script {
	t.Helper()
	s := &script{cmd: p.command(append(args, p.args...)...), exited: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = w, w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	seen := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(s.exited)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			s.mu.Lock()
			s.text.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if strings.HasPrefix(lines.Text(), line) {
				once.Do(func() { close(seen) })
			}
		}
		_ = r.Close()
		_ = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.exited
	})
	select {
	case <-seen:
	case <-s.exited:
		t.Fatalf("the script ended before it said %q\n%s", line, s.output())
	case <-time.After(5 * time.Minute):
		t.Fatalf("the script did not say %q\n%s", line, s.output())
	}
	return s
}

func (s *script) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait waits for the end of the script and returns its exit code.
func (s *script) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(3 * time.Minute):
		t.Fatalf("the script did not end\n%s", s.output())
	}
	return s.cmd.ProcessState.ExitCode()
}

// processes returns the IDs of the running processes, by name.
func (p *plane) processes(t *testing.T) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "run", "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		pids[strings.TrimSuffix(filepath.Base(file), ".pid")] = pid
	}
	return pids
}

// requireGone checks that the processes have ended, and that none is recorded.
func (p *plane) requireGone(t *testing.T, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		if err := alive(pid); err == nil {
			t.Errorf("%s, process %d, is still there", name, pid)
		}
	}
	if left := p.processes(t); len(left) > 0 {
		t.Errorf("recorded is still %v", left)
	}
}

// alive returns nil if a process runs. A zombie does not count.
func alive(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return err
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	if strings.HasPrefix(state, "Z") {
		return os.ErrProcessDone
	}
	return nil
}

// logs prints the ends of the logs.
func (p *plane) logs(t *testing.T) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(p.dir, "logs", "*.log"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		t.Logf("end of %s:\n%s", filepath.Base(file), data[max(0, len(data)-3000):])
	}
}
