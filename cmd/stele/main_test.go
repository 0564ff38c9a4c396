package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

// binary is the program under test, built once, with the race detector if the tests have it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stele")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "stele")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := database.Main(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds every wait for the program.
const patience = 30 * time.Second

// program is a running stele.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	stdout output
	stderr output
	exited chan struct{}
	err    error
}

// output can be read while the program writes to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// launch starts the program in dir. Its environment is env, and GORACE, so that the race detector does not sleep for a
// second at exit.
func launch(t *testing.T, dir string, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, dir: dir, cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, append([]string{"GORACE=atexit_sleep_ms=100"},
		env...), &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		if p.running() {
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
		if t.Failed() {
			t.Logf("standard output:\n%s\nstandard error:\n%s", p.stdout.String(), p.stderr.String())
		}
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			t.Error("the program reported a data race")
		}
	})
	return p
}

func (p *program) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// start launches the program on a free port and waits until it has written its URL.
func start(t *testing.T, dir string, args ...string) *program {
	t.Helper()
	p := launch(t, dir, nil, append([]string{"--listen-address=127.0.0.1:0"}, args...)...)
	p.url()
	return p
}

var (
	urlLine = regexp.MustCompile(`serves etcd's API on (\S+)\n`)
	urlJSON = regexp.MustCompile(`"connect".*"url":"([^"]+)"`)
)

// url is the address that the program prints.
func (p *program) url() string {
	p.t.Helper()
	var m []string
	p.await("the greeting", func() bool {
		if m = urlLine.FindStringSubmatch(p.stdout.String()); m == nil {
			m = urlJSON.FindStringSubmatch(p.stderr.String())
		}
		return m != nil
	})
	return m[1]
}

// await polls until condition holds.
func (p *program) await(what string, condition func() bool) {
	p.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if !p.running() {
			if condition() {
				return
			}
			p.t.Fatalf("the program ended (%v) before %s", p.err, what)
		}
		select {
		case <-deadline:
			p.t.Fatalf("no %s after %v", what, patience)
		case <-tick.C:
		}
	}
}

// wait returns the exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("still running after %v", patience)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatal(p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// stop stops the program as a service manager does.
func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Errorf("exit code %d after SIGTERM", code)
	}
}

// connect returns a connection to the program. It uses plain text if creds is nil.
func (p *program) connect(creds credentials.TransportCredentials) *grpc.ClientConn {
	p.t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	scheme, address, _ := strings.Cut(p.url(), "://")
	if strings.HasPrefix(scheme, "unix") {
		address = "unix://" + address
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (p *program) kv() pb.KVClient { p.t.Helper(); return pb.NewKVClient(p.connect(nil)) }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, kv pb.KVClient, key, value string) int64 {
	t.Helper()
	resp, err := kv.Put(testContext(t), &pb.PutRequest{Key: []byte(key), Value: []byte(value)}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return resp.Header.Revision
}

func get(t *testing.T, kv pb.KVClient, key string) string {
	t.Helper()
	resp, err := kv.Range(testContext(t), &pb.RangeRequest{Key: []byte(key)}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if len(resp.Kvs) != 1 {
		t.Fatalf("get %s: %d keys", key, len(resp.Kvs))
	}
	return string(resp.Kvs[0].Value)
}
