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

// server is a database server that a page uses.
type server struct {
	// kind is its name in scripts/databases, and port the port on the page.
	kind, port string
	// second is a port on the page for a server that the page starts itself, and free the port that replaces it.
	second, free string
	// env is the output of scripts/databases env.
	env map[string]string
}

// databaseHost is the host of the databases on the pages.
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
		// The servers end with this process, however it ends.
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

// files copies the certificates of the servers to the paths on the page.
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

// real and shown replace the address on the page by that of the server, and vice versa.
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
