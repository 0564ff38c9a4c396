package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// account is a user of a database server with a unique password and its own database.
type account struct {
	server                   *database.Server
	user, password, database string
}

// newAccount creates an account, and removes it when t ends. Without owner the user may use the tables of the database,
// but not create tables.
func newAccount(t *testing.T, s *database.Server, owner bool) *account {
	t.Helper()
	a := &account{server: s, user: fmt.Sprintf("user_%08x", rand.Uint32()),
		password: fmt.Sprintf("hunter2-%016x", rand.Uint64()), database: s.Database(t)}
	// Users belong to the server. The database with their rights is deleted first.
	if s.Kind == database.MariaDB {
		a.admin(t, "CREATE USER "+a.user+"@'127.0.0.1' IDENTIFIED BY '"+a.password+"'")
		t.Cleanup(func() { a.admin(t, "DROP USER "+a.user+"@'127.0.0.1'") })
		rights := "SELECT, INSERT, UPDATE, DELETE"
		if owner {
			rights = "ALL"
		}
		a.admin(t, "GRANT "+rights+" ON "+a.database+".* TO "+a.user+"@'127.0.0.1'")
		return a
	}
	a.admin(t, "CREATE ROLE "+a.user+" LOGIN PASSWORD '"+a.password+"'")
	t.Cleanup(func() { a.admin(t, "DROP OWNED BY "+a.user+" CASCADE; DROP ROLE "+a.user) })
	t.Cleanup(func() { a.admin(t, "ALTER DATABASE "+a.database+" OWNER TO stele") })
	if owner {
		a.admin(t, "ALTER DATABASE "+a.database+" OWNER TO "+a.user)
	}
	return a
}

// admin runs statements as the superuser, in the account's database.
func (a *account) admin(t *testing.T, statements string) {
	t.Helper()
	if err := a.adminErr(statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

func (a *account) adminErr(statements string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dsn := a.server.In(adminDSN(a.server), a.database)
	if a.server.Kind == database.MariaDB {
		db, err := sql.Open("mysql", strings.TrimPrefix(dsn, "mysql://")+"?multiStatements=true")
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, statements)
		return errors.Join(err, db.Close())
	}
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statements)
	return errors.Join(err, c.Close(ctx))
}

func adminDSN(s *database.Server) string {
	if s.Kind == database.MariaDB {
		return "mysql://root:admin@tcp(" + s.Address(1) + ")/"
	}
	return "postgres://postgres:admin@" + s.Address(1) + "/postgres?sslmode=disable"
}

// endpoint returns a DSN of the account's database. who is the user of the DSN, with or without a password.
func (a *account) endpoint(who string) string {
	if a.server.Kind == database.MariaDB {
		return "mysql://" + who + "@tcp(" + a.server.Address(1) + ")/" + a.database
	}
	return "postgres://" + who + "@" + a.server.Address(1) + "/" + a.database
}

// said returns all output of a program.
func (p *program) said() string { return p.stdout.String() + p.stderr.String() }

func forEachServer(t *testing.T, test func(t *testing.T, s *database.Server)) {
	t.Helper()
	for _, kind := range []string{database.Postgres, database.MariaDB} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, database.Shared(t, kind))
		})
	}
}

func TestPasswordIsSeenByNobody(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *database.Server) {
		a := newAccount(t, s, true)
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(a.password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for name, test := range map[string]struct {
			env, args []string
		}{
			"file": {args: []string{"--endpoint=" + a.endpoint(a.user),
				"--datastore-password-file=" + file}},
			"environment": {env: []string{"STELE_DATASTORE_PASSWORD=" + a.password},
				args: []string{"--endpoint=" + a.endpoint(a.user+":wrong")}},
			"endpoint environment": {env: []string{"STELE_ENDPOINT=" + a.endpoint(a.user+":"+a.password)}},
		} {
			p := launch(t, t.TempDir(), test.env,
				append([]string{"--listen-address=127.0.0.1:0", "--log-level=trace"}, test.args...)...)
			put(t, p.kv(), "k", "v")
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(line), "--log-level=trace") || strings.Contains(string(line), a.password) {
				t.Errorf("%s: the command line is %q", name, line)
			}
			p.stop()
			if strings.Contains(p.said(), a.password) {
				t.Errorf("%s: the password was written", name)
			}
			if !strings.Contains(p.stdout.String(), "://"+s.Address(1)+"/"+a.database+"\n") {
				t.Errorf("%s: does not say where the data is: %s", name, p.stdout.String())
			}
		}
	})
}

// TestMistakesWithServers checks that errors that only the operator can fix end the process at once, with one sentence
// that explains the error and has no password.
func TestMistakesWithServers(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *database.Server) {
		a := newAccount(t, s, false)
		other := tlstest.New(t)
		option := func(dsn, text string) string {
			if strings.Contains(dsn, "?") {
				return dsn + "&" + text
			}
			return dsn + "?" + text
		}
		good := a.endpoint(a.user + ":" + a.password)
		newer := newAccount(t, s, true)
		for name, test := range map[string]struct {
			before  func()
			args    []string
			want    []string
			several bool // lines
		}{
			"wrong password": {args: []string{"--endpoint=" + a.endpoint(a.user+":hunter2-wrong")},
				want: []string{"--endpoint", a.user}},
			"no password": {args: []string{"--endpoint=" + a.endpoint(a.user)},
				want: []string{"--endpoint", a.user}},
			"no rights": {args: []string{"--endpoint=" + good},
				want: []string{"--endpoint", "CREATE TABLE", "stele schema --print"}, several: true},
			"wrong CA": {args: []string{"--endpoint=" + good, "--ca-file=" + other.CAFile()},
				want: []string{"--endpoint", "certificate", "authority"}},
			"wrong prefix": {args: []string{"--endpoint=" + option(good, "table_prefix=a-b")},
				want: []string{"--endpoint", "table_prefix", "a-b"}},
			"newer schema": {
				before: func() {
					p := launch(t, t.TempDir(), nil, "schema",
						"--endpoint="+newer.endpoint(newer.user+":"+newer.password))
					if p.wait() != 0 {
						t.Fatal("no schema")
					}
					newer.admin(t, "UPDATE stele_schema SET version = 1000, compatible = 1000")
				},
				args: []string{"--endpoint=" + newer.endpoint(newer.user+":"+newer.password)},
				want: []string{"--endpoint", "newer version", "1000"}},
		} {
			if test.before != nil {
				test.before()
			}
			p := launch(t, t.TempDir(), nil, append([]string{"--listen-address=127.0.0.1:0"}, test.args...)...)
			if code := p.wait(); code != 1 {
				t.Errorf("%s: exit code %d, want 1", name, code)
			}
			said := p.said()
			for _, want := range test.want {
				if !strings.Contains(said, want) {
					t.Errorf("%s: %q lacks %q", name, said, want)
				}
			}
			if strings.Count(said, "\n") != 1 && !test.several {
				t.Errorf("%s: not one line: %q", name, said)
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("%s: shows a password: %q", name, said)
			}
		}
	})
}

func TestTLSToServers(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *database.Server) {
		a := newAccount(t, s, true)
		encrypted := "ALTER USER " + a.user + "@'127.0.0.1' REQUIRE SSL"
		if s.Kind == database.MariaDB {
			a.admin(t, encrypted)
		}
		ca := "--ca-file=" + s.Env(t, "CA")
		cert := []string{ca, "--cert-file=" + s.Env(t, "CLIENT_CERT"), "--key-file=" + s.Env(t, "CLIENT_KEY")}
		// This user may connect only with the certificate: see scripts/databases.
		certificate := a.endpoint("certificate")
		if s.Kind == database.Postgres {
			a.admin(t, "GRANT ALL ON DATABASE "+a.database+" TO certificate; GRANT ALL ON SCHEMA public TO certificate")
			t.Cleanup(func() { a.admin(t, "DROP OWNED BY certificate") })
			certificate += "?table_prefix=certified"
		}
		for name, args := range map[string][]string{
			"CA":                 {"--endpoint=" + a.endpoint(a.user+":"+a.password), ca},
			"no verification":    {"--endpoint=" + a.endpoint(a.user+":"+a.password), "--skip-verify"},
			"client certificate": append([]string{"--endpoint=" + certificate}, cert...),
		} {
			p := start(t, t.TempDir(), args...)
			put(t, p.kv(), "k", name)
			if s.Kind == database.Postgres {
				// The query divides by zero unless all connections of the program are encrypted.
				a.admin(t, "SELECT 1 / (CASE WHEN count(*) > 0 AND bool_and(ssl) THEN 1 ELSE 0 END) FROM "+
					"pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE datname = '"+
					a.database+"' AND pid <> pg_backend_pid()")
			}
			p.stop()
		}
		p := launch(t, t.TempDir(), nil, "--listen-address=127.0.0.1:0", "--endpoint="+certificate, ca)
		if code := p.wait(); code != 1 {
			t.Errorf("without its certificate: exit code %d", code)
		}
	})
}

// A service manager may start Stele before the database server.
func TestStartBeforeTheServer(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *database.Server) {
		a := newAccount(t, s, true)
		s.Kill(t, 1)
		t.Cleanup(func() {
			if t.Failed() {
				s.Restart(t, 1)
			}
		})
		endpoint := "--endpoint=" + a.endpoint(a.user+":"+a.password)
		p := launch(t, t.TempDir(), nil, "--listen-address=127.0.0.1:0", endpoint)
		stopped := launch(t, t.TempDir(), nil, "--listen-address=127.0.0.1:0", endpoint)
		for _, p := range []*program{p, stopped} {
			p.await("a word about the database",
				func() bool { return strings.Contains(p.stderr.String(), "retrying until it succeeds") })
		}
		stopped.signal(syscall.SIGTERM)
		if code := stopped.wait(); code != 0 {
			t.Errorf("exit code %d after SIGTERM while waiting", code)
		}
		once := launch(t, t.TempDir(), nil, "schema", endpoint)
		if code := once.wait(); code != 1 || !strings.Contains(once.stderr.String(), "--endpoint") {
			t.Errorf("schema: exit code %d", code)
		}
		s.Restart(t, 1)
		put(t, p.kv(), "k", "v")
		p.stop()
		if n := strings.Count(p.stderr.String(), "retrying until it succeeds"); n > 5 ||
			strings.Contains(p.said()+stopped.said()+once.said(), a.password) {
			t.Errorf("said %d times that it tries, or the password", n)
		}
	})
}

// An administrator runs the printed statements, because the user of the server has no right to change the schema.
func TestSchemaByAnAdministrator(t *testing.T) {
	forEachServer(t, func(t *testing.T, s *database.Server) {
		a := newAccount(t, s, false)
		endpoint := "--endpoint=" + a.endpoint(a.user)
		printed := launch(t, t.TempDir(), nil, "schema", "--print", endpoint)
		if code := printed.wait(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		_, tables, _ := strings.Cut(printed.stdout.String(), ";\n") // skip CREATE DATABASE: the database exists
		a.admin(t, tables)
		if s.Kind == database.Postgres {
			a.admin(t,
				"GRANT SELECT, INSERT, UPDATE, DELETE ON stele_log, stele_head, stele_replica TO "+a.user+
					"; GRANT SELECT ON stele_schema TO "+a.user)
		}
		env := []string{"STELE_DATASTORE_PASSWORD=" + a.password}
		for _, args := range [][]string{{"schema", endpoint}, {"--listen-address=127.0.0.1:0", endpoint}} {
			p := launch(t, t.TempDir(), env, args...)
			if args[0] == "schema" {
				if code := p.wait(); code != 0 || !strings.HasSuffix(p.stdout.String(), a.database+" is up to date\n") {
					t.Errorf("exit code %d", code)
				}
				continue
			}
			put(t, p.kv(), "k", "v")
			p.stop()
		}
	})
}
