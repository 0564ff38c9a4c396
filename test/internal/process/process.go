package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/stele-db/stele/test/internal/connect"
)

// Config is the command and the health check of a server.
type Config struct {
	// Binary and Args are the command line; Dir is the working directory.
	Binary string
	Args   []string
	Dir    string
	// Env is added to the environment ("NAME=value").
	Env []string
	// Target is the address of the health service.
	Target string
	// Dial are options for connecting to Target; none means plain text.
	Dial []grpc.DialOption
	// ReadyTimeout bounds every start; 0 is 60 s.
	ReadyTimeout time.Duration
	// StopTimeout bounds a graceful stop, after which the process is killed; 0 is 30 s.
	StopTimeout time.Duration
}

// Server is one server and, over time, several processes. Its methods may be called from any goroutine, but only one at
// a time may start or stop it.
type Server struct {
	config Config
	output output

	mu   sync.Mutex
	proc *process
}

type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	// err is the result of Wait, valid once exited is closed.
	err error
}

// New prepares a server without starting it. It is stopped at the end of the test.
func New(t testing.TB, config Config) *Server {
	t.Helper()
	if config.ReadyTimeout == 0 {
		config.ReadyTimeout = 60 * time.Second
	}
	if config.StopTimeout == 0 {
		config.StopTimeout = 30 * time.Second
	}
	s := &Server{config: config}
	t.Cleanup(func() { s.finish(t) })
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
		return errors.New("the server is running already")
	}
	cmd := exec.Command(s.config.Binary, s.config.Args...)
	cmd.Dir = s.config.Dir
	cmd.Env = append(os.Environ(), s.config.Env...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
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
		return errors.New("the server is not running")
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadyTimeout)
	defer cancel()
	if err := connect.Ready(ctx, s.config.Target, p.exited, s.config.Dial...); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(s.Logs(), 4000))
	}
	return nil
}

// Kill ends the process by SIGKILL and waits until it is gone. It does nothing if none is running.
func (s *Server) Kill() error {
	p := s.take()
	if p == nil {
		return nil
	}
	return p.kill()
}

// Stop ends the process by SIGTERM and waits until it is gone. It fails if the exit code is not 0, or if the process
// had to be killed after StopTimeout. It does nothing if none is running.
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
	case <-time.After(s.config.StopTimeout):
		p.dump()
		return errors.Join(fmt.Errorf("the server did not stop in %v", s.config.StopTimeout), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("the server ended with: %w", p.err)
	}
	return nil
}

// Signal sends sig to the process. The server keeps it as its process.
func (s *Server) Signal(sig os.Signal) error {
	p := s.running()
	if p == nil {
		return errors.New("the server is not running")
	}
	return p.cmd.Process.Signal(sig)
}

// Exited returns a channel that is closed when the running process ends; nil if none is running.
func (s *Server) Exited() <-chan struct{} {
	if p := s.running(); p != nil {
		return p.exited
	}
	return nil
}

// Pid returns the process ID, or 0 if none is running.
func (s *Server) Pid() int {
	if p := s.running(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// Logs returns the output of the server's processes; the beginning of a very long output is missing.
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
		t.Errorf("stop %s: %v", s.config.Binary, err)
	}
	if n := s.output.raceReports(); n > 0 {
		t.Errorf("%s reported %d data races", s.config.Binary, n)
	}
	if t.Failed() || os.Getenv("STELE_TEST_LOG") != "" {
		t.Logf("log of %s at %s:\n%s", s.config.Binary, s.config.Target, strings.TrimSpace(tail(s.Logs(), 64<<10)))
	}
}

// dump makes the process write the stacks of its goroutines and exit.
func (p *process) dump() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
	}
}

func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.exited
	return nil
}
