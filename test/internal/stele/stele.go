package stele

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/port"
)

// Options configure a server. The zero value listens on a free loopback port and stores in a SQLite file in a
// directory of the test.
type Options struct {
	// Dir holds the data; empty is a directory that is removed after the test.
	Dir string
	// Endpoint is the DSN; empty is STELE_TEST_ENDPOINT or the file state.db in Dir.
	Endpoint string
	// Socket listens on a unix socket instead of a port.
	Socket bool
	// Race builds with the race detector even if the test does without.
	Race bool
	// Args are added to the command line.
	Args []string
	// Env is added to the environment ("NAME=value").
	Env []string
	// ReadyTimeout bounds every start; 0 is 60 s.
	ReadyTimeout time.Duration
	// StopTimeout bounds a graceful stop, after which the process is killed; 0 is 30 s.
	StopTimeout time.Duration
}

// Server is one stele server and, over time, several processes. Its methods may be called from one goroutine at
// a time, which need not be the test's.
type Server struct {
	// Target is the client address for grpc and clientv3 ("127.0.0.1:port" or "unix:///path").
	Target string
	// Dir holds the data.
	Dir string

	opts   Options
	binary string
	output output

	mu   sync.Mutex
	proc *process
}

type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	// err is Wait's, to be read after exited was closed.
	err error
}

// New prepares a server without starting it. It is stopped at the end of the test.
func New(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.ReadyTimeout == 0 {
		opts.ReadyTimeout = 60 * time.Second
	}
	if opts.StopTimeout == 0 {
		opts.StopTimeout = 30 * time.Second
	}
	own := t.TempDir()
	s := &Server{opts: opts, Dir: opts.Dir, binary: Binary(t, own, opts.Race)}
	if s.Dir == "" {
		s.Dir = filepath.Join(own, "data")
		if err := os.Mkdir(s.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if opts.Socket {
		// A socket's path has at most some hundred bytes; that of a test's directory can be longer.
		dir, err := os.MkdirTemp("", "stele")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s.Target = "unix://" + filepath.Join(dir, "s")
	} else {
		s.Target = port.Free(t)
	}
	t.Cleanup(func() { s.finish(t) })
	return s
}

// Start runs a server and returns when it is ready.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := New(t, opts)
	if err := s.Launch(context.Background()); err != nil {
		t.Fatalf("start stele: %v", err)
	}
	return s
}

// Launch starts a process and waits until it is ready. It is an error if one is running.
func (s *Server) Launch(ctx context.Context) error {
	if err := s.Exec(); err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

// Exec starts a process without waiting for it. It is an error if one is running.
func (s *Server) Exec() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return errors.New("stele is running already")
	}
	endpoint := s.opts.Endpoint
	if endpoint == "" {
		endpoint = os.Getenv("STELE_TEST_ENDPOINT")
	}
	if endpoint == "" {
		endpoint = "sqlite://" + filepath.Join(s.Dir, "state.db")
	}
	args := append([]string{"--listen-address", s.Target, "--endpoint", endpoint}, s.opts.Args...)
	cmd := exec.Command(s.binary, args...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), s.opts.Env...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	// The server must not outlive a test process that was itself killed.
	cmd.SysProcAttr = parentDeathSignal()
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	s.proc = p
	return nil
}

// WaitReady waits until the health service answers SERVING, for at most ReadyTimeout.
func (s *Server) WaitReady(ctx context.Context) error {
	p := s.running()
	if p == nil {
		return errors.New("stele is not running")
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.ReadyTimeout)
	defer cancel()
	if err := connect.Ready(ctx, s.Target, p.exited); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(s.Logs(), 4000))
	}
	return nil
}

// Kill ends the process by SIGKILL and waits until it is gone. It is harmless if none is running.
func (s *Server) Kill() error {
	p := s.take()
	if p == nil {
		return nil
	}
	return p.kill()
}

// Stop ends the process by SIGTERM and waits until it is gone: an error is an exit code other than 0, or a process that
// had to be killed after StopTimeout. It is harmless if none is running.
func (s *Server) Stop() error {
	p := s.take()
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
	case <-time.After(s.opts.StopTimeout):
		return errors.Join(fmt.Errorf("stele did not stop in %v", s.opts.StopTimeout), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("stele ended with: %w", p.err)
	}
	return nil
}

// Signal sends sig to the process, which stays the server's.
func (s *Server) Signal(sig os.Signal) error {
	p := s.running()
	if p == nil {
		return errors.New("stele is not running")
	}
	return p.cmd.Process.Signal(sig)
}

// Exited is closed when the running process ends; nil if none is running.
func (s *Server) Exited() <-chan struct{} {
	if p := s.running(); p != nil {
		return p.exited
	}
	return nil
}

// Pid is the process id, or 0 if none is running.
func (s *Server) Pid() int {
	if p := s.running(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// Logs is what the server's processes wrote, the oldest part of a very long output left out.
func (s *Server) Logs() string { return s.output.String() }

func (s *Server) running() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) take() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.proc
	s.proc = nil
	return p
}

func (s *Server) finish(t testing.TB) {
	if err := s.Stop(); err != nil {
		t.Errorf("stop stele: %v", err)
	}
	if n := s.output.raceReports(); n > 0 {
		t.Errorf("stele reported %d data races", n)
	}
	if t.Failed() || os.Getenv("STELE_TEST_LOG") != "" {
		t.Logf("log of stele %s:\n%s", s.Target, strings.TrimSpace(tail(s.Logs(), 16<<10)))
	}
}

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.exited
	return nil
}
