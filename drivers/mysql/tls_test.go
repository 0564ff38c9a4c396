package mysql

import (
	"context"
	"strings"
	"testing"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

func TestTLS(t *testing.T) {
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	ca, cert, key := s.Env(t, "CA"), s.Env(t, "CLIENT_CERT"), s.Env(t, "CLIENT_KEY")
	certified := strings.Replace(dsn, "stele:stele@", "certificate@", 1) // a user who must show a certificate
	for name, test := range map[string]struct {
		dsn  string
		opts connect.Options
		ok   bool
	}{
		"CA":         {dsn, connect.Options{TLS: connect.TLS{CAFile: ca}}, true},
		"unknown CA": {dsn + "?tls=true", connect.Options{}, false},
		"another CA": {dsn, connect.Options{TLS: connect.TLS{CAFile: cert}}, false},
		"server name": {dsn + "?server_name=localhost", connect.Options{TLS: connect.TLS{CAFile: ca}},
			true},
		"another server name": {dsn + "?server_name=other.example",
			connect.Options{TLS: connect.TLS{CAFile: ca}}, false},
		"server name in plain text": {dsn + "?server_name=localhost", connect.Options{}, false},
		"server name, unverified": {dsn + "?server_name=localhost",
			connect.Options{TLS: connect.TLS{CAFile: ca, SkipVerify: true}}, false},
		"unverified":        {dsn, connect.Options{TLS: connect.TLS{SkipVerify: true}}, true},
		"unverified by DSN": {dsn + "?tls=skip-verify", connect.Options{}, true},
		"options above DSN": {dsn + "?tls=skip-verify", connect.Options{TLS: connect.TLS{CAFile: cert}},
			false},
		"client certificate": {certified,
			connect.Options{TLS: connect.TLS{CAFile: ca, CertFile: cert, KeyFile: key}}, true},
		"no client certificate": {certified, connect.Options{TLS: connect.TLS{CAFile: ca}}, false},
		"password in options": {strings.Replace(dsn, ":stele@", ":wrong@", 1),
			connect.Options{Password: "stele"}, true},
		"wrong password, in the DSN": {strings.Replace(dsn, ":stele@", ":wrong@", 1), connect.Options{}, false},
	} {
		l, err := Open(context.Background(), test.dsn, driver.Options{Logger: quiet(), Options: test.opts})
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		end, err := l.End(context.Background())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustAppend(t, l, log.Head{Position: end.Position, ID: end.ID}, drivertest.BenchEntries(70))
		if err := l.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
