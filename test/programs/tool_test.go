package programs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/process"
)

// toolTimeout bounds one call of a tool, unless a test sets its own limit.
const toolTimeout = time.Minute

// tool is the path of a command line program.
type tool string

// etcdctl builds etcdctl. Its client logs to standard error, which no test reads.
func etcdctl(t *testing.T) tool { return etcdTool(t, "etcdctl") }

// etcdutl builds etcdutl.
func etcdutl(t *testing.T) tool { return etcdTool(t, "etcdutl") }

func etcdTool(t *testing.T, name string) tool {
	t.Helper()
	return tool(process.Program{Name: name, Package: "go.etcd.io/etcd/" + name + "/v3",
		Dir: "."}.Binary(t, t.TempDir()))
}

// etcdProgram builds etcd itself, which has the command grpc-proxy.
func etcdProgram(t *testing.T) tool { return tool(etcd.Binary(t, t.TempDir())) }

// pinned builds a program of the module in a directory below this one.
func pinned(t *testing.T, module, pkg string) tool {
	t.Helper()
	program := process.Program{Name: filepath.Base(pkg), Package: pkg, Dir: filepath.Join("programs", module)}
	return tool(program.Binary(t, t.TempDir()))
}

// result is the result of a call of a tool.
type result struct {
	Out, Failure string
	Code         int
}

// try runs the tool and returns its output and exit code. A call that does not end is an error.
func (p tool) try(t *testing.T, limit time.Duration, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, string(p), args...)
	cmd.WaitDelay = time.Second
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v, %v\n%s%s", p.line(args), err, ctx.Err(), out.String(), failure.String())
	}
	return result{Out: out.String(), Failure: failure.String(), Code: cmd.ProcessState.ExitCode()}
}

// run runs the tool, which must succeed, and returns its standard output.
func (p tool) run(t *testing.T, args ...string) string {
	t.Helper()
	r := p.try(t, toolTimeout, args...)
	if r.Code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", p.line(args), r.Code, r.Out, r.Failure)
	}
	return r.Out
}

// start runs the tool in the background. The test kills it at its end.
func (p tool) start(t *testing.T, args ...string) *job {
	t.Helper()
	j := &job{name: p.line(args), cmd: exec.Command(string(p), args...), exited: make(chan struct{})}
	j.cmd.Stdout, j.cmd.Stderr = &j.out, &j.failure
	// A program that the tool has started holds its output open.
	j.cmd.WaitDelay = time.Second
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := j.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", j.name, err)
	}
	go func() {
		_ = j.cmd.Wait()
		close(j.exited)
	}()
	t.Cleanup(func() {
		j.kill()
		if t.Failed() {
			t.Logf("%s:\n%s\n%s", j.name, lastBytes(j.out.String()), lastBytes(j.failure.String()))
		}
	})
	return j
}

func (p tool) line(args []string) string {
	return filepath.Base(string(p)) + " " + strings.Join(args, " ")
}

// job is a tool that runs in the background.
type job struct {
	name         string
	cmd          *exec.Cmd
	out, failure growingText
	exited       chan struct{}
}

// kill ends the program by SIGKILL and waits until it is gone.
func (j *job) kill() {
	_ = j.cmd.Process.Kill()
	<-j.exited
}

// interrupt sends SIGINT and returns the exit code.
func (j *job) interrupt(t *testing.T) int {
	t.Helper()
	_ = j.cmd.Process.Signal(os.Interrupt)
	return j.wait(t, 10*time.Second)
}

// wait returns the exit code.
func (j *job) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-j.exited:
		return j.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("%s does not end in %v", j.name, limit)
		return 0
	}
}

// awaitOut returns the standard output once it contains text. It fails the test if the program ends without it.
func (j *job) awaitOut(t *testing.T, limit time.Duration, text string) string {
	t.Helper()
	within(t, limit, func() error {
		select {
		case <-j.exited:
		default:
			if !strings.Contains(j.out.String(), text) {
				return errors.New(j.name + " has not printed " + text)
			}
		}
		return nil
	})
	if !strings.Contains(j.out.String(), text) {
		t.Fatalf("%s ended without %q: %s%s", j.name, text, j.out.String(), j.failure.String())
	}
	return j.out.String()
}

// growingText is output that is read while it is written.
type growingText struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (g *growingText) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.data.Write(p)
}

func (g *growingText) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.data.String()
}

func lastBytes(s string) string { return s[max(0, len(s)-8<<10):] }

// within calls check until it returns nil, and fails the test with its last error after limit.
func within(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %v", limit, err)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// holds fails the test if check returns an error within period.
func holds(t *testing.T, period time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(period)
	for {
		if err := check(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-end:
			return
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}
