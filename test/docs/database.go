package docs

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stele-db/stele/test/internal/port"
)

// server is a database server that a page speaks of.
type server struct {
	// kind is that of scripts/databases, and port the one that the page shows.
	kind, port string
	// second is a port of the page on which it starts a server itself, and free the real one.
	second, free string
	// env is what scripts/databases tells of it.
	env map[string]string
}

// databaseHost is where the pages have their databases.
const databaseHost = "db.example"

// startServers starts the servers whose ports are on the page. They end with the test.
func startServers(t *testing.T, p *page) []*server {
	t.Helper()
	var servers []*server
	for _, s := range []*server{
		{kind: "postgres", port: "5432", second: "5433"}, {kind: "mariadb", port: "3306", second: "3307"},
	} {
		for _, c := range p.commands {
			if strings.Contains(c.text, databaseHost) && strings.Contains(c.text, s.port) {
				s.start(t)
				_, s.free, _ = strings.Cut(port.Free(t), ":")
				servers = append(servers, s)
				break
			}
		}
	}
	return servers
}

func (s *server) start(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "docs-database")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs(root + "/scripts/databases")
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) error {
		cmd := exec.Command(script, args...)
		// However this process ends, the servers end with it.
		cmd.Env = append(os.Environ(), "DATABASES_OWNER="+strconv.Itoa(os.Getpid()))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("scripts/databases %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	t.Cleanup(func() {
		if err := run("stop", dir); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	if err := run("start", s.kind, dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		s.env[name] = value
	}
}

// files puts the certificates of the servers where the page has them.
func (s *server) files(t *testing.T, dir string) {
	t.Helper()
	for name, from := range map[string]string{
		"db-ca.crt": "CA", "db-client.crt": "CLIENT_CERT", "db-client.key": "CLIENT_KEY",
	} {
		content, err := os.ReadFile(s.env[from])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, s.kind+"-"+name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// real and shown replace the page's address of the server by the real one, and back.
func (s *server) real(text string) string {
	return strings.NewReplacer(databaseHost, "127.0.0.1", s.port, s.env["PORT_1"], s.second, s.free).Replace(text)
}

func (s *server) shown(text string) string {
	return strings.NewReplacer("127.0.0.1:"+s.env["PORT_1"], databaseHost+":"+s.port, "127.0.0.1:"+s.free,
		databaseHost+":"+s.second).Replace(text)
}

// pgCtl is a pg_ctl that root can use: PostgreSQL refuses to run as root, and in Debian it is not in the PATH.
const pgCtl = `#!/bin/sh
bin=$(printf "%s\n" /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ "$(id -u)" = 0 ] || exec "$bin/pg_ctl" "$@"
chown -R stele-test: base
exec setpriv --reuid=stele-test --regid=stele-test --clear-groups "$bin/pg_ctl" "$@"
`

// stopSecond stops a server that the page started in the directory base of dir, if it still runs.
func stopSecond(t *testing.T, tools, dir string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "base", "postmaster.pid")); err != nil {
		return
	}
	cmd := exec.Command(filepath.Join(tools, "pg_ctl"), "-D", "base", "-m", "immediate", "stop")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("stop the page's own server: %v\n%s", err, out)
	}
}
