// Package stele runs cmd/stele as a process: see package process for what it promises. The binary has the race
// detector exactly when the test has it or Options ask for it.
//
// Environment: STELE_TEST_BINARY names a binary to run instead of building one; STELE_TEST_ENDPOINT is the DSN of
// the database instead of a SQLite file in the server's directory.
package stele

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
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

// Server is a stele server: Launch, Kill, Stop and so on are those of process.Server.
type Server struct {
	*process.Server
	// Target is the client address for grpc and clientv3 ("127.0.0.1:port" or "unix:///path").
	Target string
	// Dir holds the data.
	Dir string
	// Endpoint is the DSN.
	Endpoint string
}

// New prepares a server without starting it. It is stopped at the end of the test.
func New(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{Dir: opts.Dir, Endpoint: opts.Endpoint}
	if s.Dir == "" {
		s.Dir = t.TempDir()
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
	if s.Endpoint == "" {
		s.Endpoint = os.Getenv("STELE_TEST_ENDPOINT")
	}
	if s.Endpoint == "" {
		s.Endpoint = "sqlite://" + filepath.Join(s.Dir, "state.db")
	}
	s.Server = process.New(t, process.Config{
		Binary:       Binary(t, t.TempDir(), opts.Race),
		Args:         append([]string{"--listen-address", s.Target, "--endpoint", s.Endpoint}, opts.Args...),
		Dir:          s.Dir,
		Env:          opts.Env,
		Target:       s.Target,
		ReadyTimeout: opts.ReadyTimeout,
		StopTimeout:  opts.StopTimeout,
	})
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

// Binary returns the path in dir of a stele binary that belongs to the test.
func Binary(t testing.TB, dir string, race bool) string {
	t.Helper()
	if path := os.Getenv("STELE_TEST_BINARY"); path != "" {
		return process.Link(t, path, dir)
	}
	return process.Program{
		Name:    "stele",
		Package: "./cmd/stele",
		Dir:     "..",
		Race:    race || process.RaceEnabled,
	}.Binary(t, dir)
}
