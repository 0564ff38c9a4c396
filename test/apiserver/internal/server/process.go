package server

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
)

// process is one server. Its output is shown if its test fails.
type process struct {
	name   string
	cmd    *exec.Cmd
	output output
	exited chan struct{}
	err    error
	// killed is set if the test has killed the process, so that stop need not.
	killed bool
}

// run starts a command that serves HTTP at url, and returns when url/health answers OK. It lives as long as t.
func run(t testing.TB, name, url string, client *http.Client, command ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	p.cmd.Dir = tempDir(t)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = withParent()
	shared.Lock()
	err := p.cmd.Start()
	if err == nil {
		shared.processes[p] = true
	}
	shared.Unlock()
	if err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
		shared.Lock()
		defer shared.Unlock()
		delete(shared.processes, p)
	}()
	t.Cleanup(func() { p.stop(t) })
	if err := p.await(url+"/health", client); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// await waits until a GET of url succeeds.
func (p *process) await(url string, client *http.Client) error {
	deadline := time.After(readyTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		last := get(url, client)
		if last == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("ended before it was ready: %w", p.err)
		case <-deadline:
			return fmt.Errorf("not ready in %v: %w", readyTimeout, last)
		case <-tick.C:
		}
	}
}

func get(url string, client *http.Client) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return nil
}

// stop ends the process. It fails the test if the process has ended by itself, or does not end.
func (p *process) stop(t testing.TB) {
	select {
	case <-p.exited:
		if p.killed {
			return
		}
		t.Errorf("%s ended by itself: %v", p.name, p.err)
	default:
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(stopTimeout):
			t.Errorf("%s did not stop in %v", p.name, stopTimeout)
			p.kill()
		}
		// etcd ends by the signal, and not with exit code 0.
		if p.err != nil && p.name != Etcd {
			t.Errorf("%s ended with: %v", p.name, p.err)
		}
	}
	if t.Failed() || os.Getenv("STELE_TEST_LOG") != "" {
		t.Logf("the end of the log of %s:\n%s", p.name, strings.TrimSpace(p.output.String()))
	}
}

// kill kills the process and waits until it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// maxOutput is the size of the kept end of a server's log.
const maxOutput = 64 << 10

type output struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.data.Write(p)
	if over := o.data.Len() - maxOutput; over > 0 {
		o.data.Next(over)
	}
	return n, err
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data.String()
}
