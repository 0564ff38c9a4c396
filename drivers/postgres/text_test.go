package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
)

// TestErrorText checks that errors of a real server are one line, which begins with the cause and shows no password.
func TestErrorText(t *testing.T) {
	s := database.Shared(t, database.Postgres)
	name := s.Database(t)
	execute(t, s, name, "CREATE ROLE visitor LOGIN PASSWORD 'hunter2'")
	t.Cleanup(func() { execute(t, s, name, "DROP ROLE visitor") })
	dsn := as(t, s.In(s.Env(t, "DSN"), name), "visitor", "hunter2")
	host := s.Address(1)
	option := func(replaced, value string) string { return strings.Replace(dsn, replaced, value, 1) }
	target := ", connecting to host=" + host + " user=visitor database=" + name + " (postgres: connect)"
	for what, test := range map[string]struct{ dsn, want string }{
		"wrong password": {
			option(":hunter2@", ":hunter3@"),
			`password authentication failed for user "visitor" (SQLSTATE 28P01)` + target +
				"; check user, password and certificate, and pg_hba.conf of the server",
		},
		"unknown user": {
			option("visitor:", "nobody:"),
			`password authentication failed for user "nobody" (SQLSTATE 28P01), connecting to host=` + host +
				" user=nobody database=" + name +
				" (postgres: connect); check user, password and certificate, and pg_hba.conf of the server",
		},
		"refused port": {
			option(host, "localhost:1"),
			"connection refused, connecting to host=127.0.0.1:1 (localhost) user=visitor database=" + name +
				" (postgres: connect)",
		},
		"refused ports, with and without TLS": {
			option(host+"/"+name+"?sslmode=disable", "127.0.0.1:1,127.0.0.1:2/"+name),
			"connection refused, connecting to host=127.0.0.1:1,127.0.0.1:2 user=visitor database=" + name +
				" (postgres: connect)",
		},
		"refused port, and wrong password": {
			strings.Replace(option(":hunter2@", ":hunter3@"), host, "127.0.0.1:1,"+host, 1),
			`password authentication failed for user "visitor" (SQLSTATE 28P01), connecting to host=` + host +
				"; connection refused, connecting to host=127.0.0.1:1 user=visitor database=" + name +
				" (postgres: connect); check user, password and certificate, and pg_hba.conf of the server",
		},
		"unknown host": {
			option(host, "no.such.invalid:5432"),
			"no such host, looking up no.such.invalid user=visitor database=" + name + " (postgres: connect)",
		},
		"no socket": {
			option("@"+host+"/"+name+"?", "@/"+name+"?host=/no/such&"),
			"no such file or directory, connecting to host=/no/such/.s.PGSQL.5432 user=visitor database=" + name +
				" (postgres: connect)",
		},
		"unknown database": {
			option("/"+name, "/missing"),
			`the user of the data source name may not run this; let an administrator do it (` +
				"`stele schema --print` prints all statements): " +
				`CREATE DATABASE "missing" (permission denied to create database (SQLSTATE 42501))`,
		},
		"unknown authority": {
			option("sslmode=disable", "sslmode=verify-full"),
			"tls: failed to verify certificate: x509: certificate signed by unknown authority" + target +
				"; the certificate of the database server is not accepted: check --ca-file and the host name in the " +
				"endpoint",
		},
		"option of no server": {
			option("sslmode=disable", "sslmode=disable&work_mem=lots"),
			`invalid value for parameter "work_mem": "lots" (SQLSTATE 22023)` + target +
				"; an option of the endpoint is neither Stele's nor a setting of the server, or has a wrong value",
		},
	} {
		checkOpenError(t, what, test.dsn, test.want)
	}
}

// TestErrorTextWithoutTLS connects with TLS to a server that has none.
func TestErrorTextWithoutTLS(t *testing.T) {
	s := database.Shared(t, database.Postgres)
	name := s.Database(t)
	dsn := strings.Replace(s.In(s.Env(t, "DSN"), name), "sslmode=disable", "sslmode=require", 1)
	execute(t, s, "", "ALTER SYSTEM SET ssl = off")
	execute(t, s, "", "SELECT pg_reload_conf()")
	t.Cleanup(func() {
		execute(t, s, "", "ALTER SYSTEM RESET ssl")
		execute(t, s, "", "SELECT pg_reload_conf()")
	})
	want := "server refused TLS connection, connecting to host=" + s.Address(1) + " user=stele database=" + name +
		" (postgres: connect); the server has no TLS: set ssl = on there, or do without --ca-file, --cert-file, " +
		"--skip-verify and sslmode"
	for deadline := time.Now().Add(10 * time.Second); ; {
		l, err := Open(within(t, 10*time.Second), dsn, driver.Options{Logger: quiet()})
		switch {
		case err != nil && err.Error() == want:
			return
		case err == nil: // the server has not reloaded its configuration yet
			_ = l.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, want %s", err, want)
		}
	}
}

func checkOpenError(t *testing.T, what, dsn, want string) {
	t.Helper()
	l, err := Open(within(t, 10*time.Second), dsn, driver.Options{Logger: quiet()})
	if err == nil {
		_ = l.Close()
		t.Errorf("%s: no error", what)
		return
	}
	if got := err.Error(); got != want || strings.Contains(got, "hunter") {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
