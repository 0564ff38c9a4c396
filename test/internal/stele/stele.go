// Package stele runs cmd/stele as a process: see package process for its guarantees.
//
// The binary has the race detector if the test has it or STELE_TEST_RACE is set, unless Options say otherwise.
//
// Environment: STELE_TEST_BINARY names a binary to run instead of building one; STELE_TEST_DATABASE says where servers
// store: sqlite (the default) is a file in the server's directory, and any kind of package database (postgres, mariadb,
// galera, ...) is an empty database for each server, on a database server that the test binary shares. Its TestMain
// must call database.Main.
package stele

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
)

// Options configure a server. The zero value listens on a free loopback port and stores its data in a SQLite file in a
// directory of the test.
type Options struct {
	// Dir holds the data; empty is a directory that is removed after the test.
	Dir string
	// Endpoint is the DSN; if empty, the server gets an empty database of its own, of the kind in STELE_TEST_DATABASE.
	Endpoint string
	// TLS are dial options for a server with TLS in its Args.
	TLS []grpc.DialOption
	// Socket listens on a unix socket instead of a port.
	Socket bool
	// Race builds with the race detector even if the test has none, and Plain without it even if the test has it, for
	// meaningful figures.
	Race, Plain bool
	// Binary is run instead of a binary built from the tree.
	Binary string
	// Args are added to the command line.
	Args []string
	// Env is added to the environment ("NAME=value").
	Env []string
	// ReadyTimeout bounds every start; 0 is 60 s.
	ReadyTimeout time.Duration
	// StopTimeout bounds a graceful stop, after which the process is killed; 0 is 30 s.
	StopTimeout time.Duration
}

// Server is a stele process. Launch, Kill, Stop and so on are methods of process.Server.
type Server struct {
	*process.Server
	// Target is the client address for grpc and clientv3 ("127.0.0.1:port" or "unix:///path").
	Target string
	// Dir holds the data.
	Dir string
	// Endpoint is the DSN.
	Endpoint string
	binary   string
}

// New prepares a server without starting it. It is stopped at the end of the test.
func New(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{Dir: opts.Dir, Endpoint: opts.Endpoint}
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	if opts.Socket {
		// The path of a socket is limited to about 100 bytes, and a test's directory can exceed that.
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
		s.Endpoint = Database(t, s.Dir)
	}
	s.binary = opts.binary(t)
	s.Server = process.New(t, process.Config{
		Binary:       s.binary,
		Args:         append([]string{"--listen-address", s.Target, "--endpoint", s.Endpoint}, opts.Args...),
		Dir:          s.Dir,
		Env:          opts.Env,
		Target:       s.Target,
		Dial:         opts.TLS,
		ReadyTimeout: opts.ReadyTimeout,
		StopTimeout:  opts.StopTimeout,
	})
	return s
}

// Check runs `stele check` on the database.
func (s *Server) Check(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.binary, "check", "--endpoint", s.Endpoint).CombinedOutput()
	if err != nil {
		t.Errorf("stele check: %v\n%s", err, out)
		return
	}
	t.Logf("check: %s", bytes.TrimSpace(out))
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

// Kind returns STELE_TEST_DATABASE.
func Kind() string {
	if kind := os.Getenv("STELE_TEST_DATABASE"); kind != "" {
		return kind
	}
	return SQLite
}

// SQLite is the kind of database that needs no server.
const SQLite = "sqlite"

// Database creates an empty database of the kind in STELE_TEST_DATABASE, which is removed after t, and returns its DSN.
// dir is the directory of a database that is a file.
func Database(t testing.TB, dir string) string {
	t.Helper()
	if Kind() == SQLite {
		return "sqlite://" + filepath.Join(dir, "state.db")
	}
	return database.Shared(t, Kind()).DSN(t)
}

func (o Options) binary(t testing.TB) string {
	t.Helper()
	if o.Binary != "" {
		return process.Link(t, o.Binary, t.TempDir())
	}
	if o.Plain {
		return build(t, t.TempDir(), false)
	}
	return Binary(t, t.TempDir(), o.Race)
}

// Binary returns the path in dir of a stele binary that belongs to the test.
func Binary(t testing.TB, dir string, race bool) string {
	t.Helper()
	return build(t, dir, race || process.RaceEnabled)
}

func build(t testing.TB, dir string, race bool) string {
	t.Helper()
	if path := os.Getenv("STELE_TEST_BINARY"); path != "" {
		return process.Link(t, path, dir)
	}
	return process.Program{
		Name:    "stele",
		Package: "./cmd/stele",
		Dir:     "..",
		Race:    race,
	}.Binary(t, dir)
}
