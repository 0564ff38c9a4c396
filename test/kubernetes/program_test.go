package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// tailLines is the number of log lines that a failed test prints. The test keeps the whole log.
const tailLines = 30

// program is one process that writes its output to a file. It is killed with its process group at the end of its test,
// or by the kernel at the end of the test process.
type program struct {
	name, log string
	cmd       *exec.Cmd
	exited    chan struct{}

	mu     sync.Mutex
	killed bool
}

// spawn starts binary, which lives until the end of life. t is life or one of its subtests. The output is NAME.log in
// dir.
func spawn(t, life testing.TB, dir, name, binary string, env []string, args ...string) *program {
	t.Helper()
	p := &program{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	file, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = group()

	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		_ = file.Close()
		close(p.exited)
	}()
	life.Cleanup(func() {
		p.kill()
		if life.Failed() {
			life.Logf("end of %s:\n%s", p.log, p.tail())
		}
	})
	return p
}

// kill ends the process group as kill -9 does, and waits until the process has ended.
func (p *program) kill() {
	p.mu.Lock()
	if !p.killed {
		p.killed = true
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	p.mu.Unlock()
	<-p.exited
}

// check returns an error if the process has ended and the test did not kill it.
func (p *program) check() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return nil
	}
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended by itself: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
	default:
		return nil
	}
}

// tail returns the end of the log.
func (p *program) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n")))
}

// grep returns the lines of the log that contain any of the texts, at most ten.
func (p *program) grep(texts ...string) ([]string, error) {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range bytes.Lines(data) {
		if len(found) < 10 &&
			slices.ContainsFunc(texts, func(text string) bool { return bytes.Contains(line, []byte(text)) }) {
			found = append(found, string(bytes.TrimSpace(line)))
		}
	}
	return found, nil
}

// runs is a list of programs.
type runs []*program

func (list runs) check() error {
	var errs []error
	for _, p := range list {
		errs = append(errs, p.check())
	}
	return errors.Join(errs...)
}
