package database

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The kinds of servers. A kind may also name a version, as in "postgres-17" or "mariadb-11.8"; see scripts/databases.
const (
	// Postgres is one PostgreSQL server.
	Postgres = "postgres"
	// PostgresSync is a primary (node 1) with a synchronous standby (node 2).
	PostgresSync = "postgres-sync"
	// PgBouncer is PostgreSQL (node 1) behind PgBouncer in transaction mode (node 2).
	PgBouncer = "pgbouncer"
	// MariaDB is one MariaDB server.
	MariaDB = "mariadb"
	// Galera is a cluster of three MariaDB servers.
	Galera = "galera"
	// MySQL is one MySQL server.
	MySQL = "mysql"
	// TiDB is one TiDB server with embedded storage.
	TiDB = "tidb"
)

// Server is a database server, or a group of servers. Its methods fail the test on errors.
type Server struct {
	// Kind is one of the kinds above.
	Kind string
	dir  string
	env  map[string]string
}

// Start starts servers that live as long as t.
func Start(t testing.TB, kind string) *Server {
	t.Helper()
	s, err := start(kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.tails(t)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// shared holds the servers that Shared started, until Main stops them.
var shared struct {
	sync.Mutex
	main    bool
	servers map[string]*Server
}

// Shared returns the server of this kind that the tests of this binary share. The first call starts it. The package's
// TestMain must be `os.Exit(database.Main(m))`.
func Shared(t testing.TB, kind string) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.main {
		t.Fatal("database.Shared needs a TestMain that calls database.Main")
	}
	if s := shared.servers[kind]; s != nil {
		return s
	}
	s, err := start(kind)
	if err != nil {
		t.Fatal(err)
	}
	shared.servers[kind] = s
	return s
}

// Main runs the tests of a package, stops the shared servers, and returns the exit code.
func Main(m *testing.M) int {
	shared.Lock()
	shared.main, shared.servers = true, map[string]*Server{}
	shared.Unlock()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	for _, s := range shared.servers {
		if err := s.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	shared.main, shared.servers = false, nil
	return code
}

func start(kind string) (*Server, error) {
	dir, err := os.MkdirTemp("", "stele-database-")
	if err != nil {
		return nil, err
	}
	s := &Server{Kind: kind, dir: dir}
	// The limit includes the time to install packages.
	if err := run(8*time.Minute, "start", kind, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.readEnv(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *Server) stop() error {
	return errors.Join(run(time.Minute, "stop", s.dir), os.RemoveAll(s.dir))
}

func (s *Server) readEnv() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "env"))
	if err != nil {
		return err
	}
	s.env = map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		s.env[name] = value
	}
	return nil
}

// run runs the script.
func run(limit time.Duration, arguments ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if errRoot != nil {
		return errRoot
	}
	c := exec.CommandContext(ctx, filepath.Join(root, "scripts", "databases"), arguments...)
	c.Env = append(os.Environ(), "DATABASES_OWNER="+strconv.Itoa(os.Getpid()))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 30 * time.Second
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("scripts/databases %s: %w: %s", strings.Join(arguments, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func (s *Server) run(t testing.TB, command string, arguments ...string) {
	t.Helper()
	if err := run(2*time.Minute, append([]string{command, s.dir}, arguments...)...); err != nil {
		t.Fatal(err)
	}
}

// Kill kills all processes of a node (from 1) with SIGKILL, and waits until they have ended.
func (s *Server) Kill(t testing.TB, node int) { t.Helper(); s.run(t, "kill", strconv.Itoa(node)) }

// Restart starts a killed node with the same address and data; it first stops a running node cleanly. The node answers
// when Restart returns. A node that was the primary before Promote restarts as a primary.
func (s *Server) Restart(t testing.TB, node int) { t.Helper(); s.run(t, "restart", strconv.Itoa(node)) }

// Pause stops all processes of a node with SIGSTOP. The node keeps its connections and answers nothing.
func (s *Server) Pause(t testing.TB, node int) { t.Helper(); s.run(t, "pause", strconv.Itoa(node)) }

// Continue resumes a paused node.
func (s *Server) Continue(t testing.TB, node int) {
	t.Helper()
	s.run(t, "continue", strconv.Itoa(node))
}

// Promote makes the standby of [PostgresSync] a primary. It does not change the previous primary.
func (s *Server) Promote(t testing.TB) { t.Helper(); s.run(t, "promote") }

// Backup stores a copy of all nodes' data under a name, as a power failure at this moment would leave them.
func (s *Server) Backup(t testing.TB, name string) { t.Helper(); s.run(t, "backup", name) }

// Restore kills all nodes and starts them from the named copy.
func (s *Server) Restore(t testing.TB, name string) { t.Helper(); s.run(t, "restore", name) }

// Env returns a variable that scripts/databases set for the servers, such as CA, CLIENT_CERT, CLIENT_KEY (files),
// ADMIN_DSN or DSN_2. It fails the test if the variable is not set.
func (s *Server) Env(t testing.TB, name string) string {
	t.Helper()
	value, ok := s.env[name]
	if !ok {
		t.Fatalf("a server of kind %s has no %s", s.Kind, name)
	}
	return value
}

// Nodes returns the number of nodes.
func (s *Server) Nodes() int {
	n, _ := strconv.Atoi(s.env["NODES"])
	return n
}

// Address returns the host and port of a node (from 1).
func (s *Server) Address(node int) string {
	return net.JoinHostPort("127.0.0.1", s.env["PORT_"+strconv.Itoa(node)])
}

// tails logs the last lines of the nodes' logs.
func (s *Server) tails(t testing.TB) {
	for node := range s.Nodes() {
		text, err := os.ReadFile(filepath.Join(s.env["ROOT"], "node"+strconv.Itoa(node+1), "log"))
		if err != nil {
			t.Log(err)
			continue
		}
		t.Logf("the end of the log of node %d:\n%s", node+1, text[max(0, len(text)-3000):])
	}
}
