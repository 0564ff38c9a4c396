package mysql

import (
	"context"
	"strings"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
)

// TestErrorText checks that errors of a real server are one line, which begins with the cause and shows no password.
func TestErrorText(t *testing.T) {
	s := database.Shared(t, database.MariaDB)
	name := s.Database(t)
	admin(t, s, "CREATE USER visitor IDENTIFIED BY 'hunter2'", "GRANT ALL ON "+name+".* TO visitor",
		"CREATE USER encrypted IDENTIFIED BY 'hunter2' REQUIRE SSL")
	t.Cleanup(func() { admin(t, s, "DROP USER visitor, encrypted") })
	host := s.Address(1)
	dsn := "mysql://visitor:hunter2@tcp(" + host + ")/" + name
	option := func(replaced, value string) string { return strings.Replace(dsn, replaced, value, 1) }
	target := func(user, database string) string {
		return ", connecting to host=" + host + " user=" + user + " database=" + database + " (mysql: open)"
	}
	const refusesUser = "; the server refuses the user: check name, password, certificate and rights, and whether " +
		"the server demands TLS"
	for what, test := range map[string]struct{ dsn, want string }{
		"wrong password": {
			option(":hunter2@", ":hunter3@"),
			"Access denied for user 'visitor'@'127.0.0.1' (using password: YES) (error 1045)" +
				target("visitor", name) + refusesUser,
		},
		"unknown user": {
			option("visitor:", "nobody:"),
			"Access denied for user 'nobody'@'127.0.0.1' (using password: YES) (error 1045)" +
				target("nobody", name) + refusesUser,
		},
		"refused port": {
			option(host, "localhost:1"),
			"connection refused, connecting to host=localhost:1 user=visitor database=" + name + " (mysql: open)",
		},
		"refused ports": {
			option(host, "127.0.0.1:1,127.0.0.1:2"),
			"connection refused, connecting to host=127.0.0.1:1,127.0.0.1:2 user=visitor database=" + name +
				" (mysql: open)",
		},
		"refused port, and wrong password": {
			strings.Replace(option(":hunter2@", ":hunter3@"), host, "127.0.0.1:1,"+host, 1),
			"Access denied for user 'visitor'@'127.0.0.1' (using password: YES) (error 1045), connecting to host=" +
				host +
				"; connection refused, connecting to host=127.0.0.1:1 user=visitor database=" + name +
				" (mysql: open)" + refusesUser,
		},
		"unknown host": {
			option(host, "no.such.invalid:3306"),
			"no such host, looking up no.such.invalid, connecting to host=no.such.invalid:3306 user=visitor database=" +
				name + " (mysql: open)",
		},
		"no socket": {
			option("tcp("+host+")", "unix(/no/such)"),
			"no such file or directory, connecting to host=/no/such user=visitor database=" + name + " (mysql: open)",
		},
		"unknown database": {
			option("/"+name, "/missing"),
			"Access denied for user 'visitor'@'%' to database 'missing' (error 1044)" +
				target("visitor", "missing") + refusesUser,
		},
		"unknown authority": {
			dsn + "?tls=true",
			"tls: failed to verify certificate: x509: certificate signed by unknown authority" +
				target("visitor", name) +
				"; the certificate of the database server is not accepted: check --ca-file and the host name in the " +
				"endpoint",
		},
		"user who needs TLS": {
			option("visitor:", "encrypted:"),
			"Access denied for user 'encrypted'@'127.0.0.1' (using password: YES) (error 1045)" +
				target("encrypted", name) + refusesUser,
		},
		"option of no server": {
			dsn + "?no_such_option=1",
			"Unknown system variable 'no_such_option' (error 1193)" + target("visitor", name) +
				"; an option of the DSN is neither the driver's nor a variable of the server",
		},
	} {
		l, err := Open(context.Background(), test.dsn, driver.Options{Logger: quiet()})
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: no error", what)
			continue
		}
		if got := err.Error(); got != test.want || strings.Contains(got, "hunter") {
			t.Errorf("%s:\n got %s\nwant %s", what, got, test.want)
		}
	}
}
