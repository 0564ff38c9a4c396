package postgres

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/pkg/tls/tlstest"
)

func TestParseDSN(t *testing.T) {
	cfg, err := parseDSN("postgres://u%40x:s%2Fe@h1:5433,h2/db?table_prefix=other&pooler=transaction&" +
		"sslmode=disable&statement_timeout=5000&pool_max_conns=3&search_path=apart")
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.pool.ConnConfig
	if c.User != "u@x" || c.Password != "s/e" || c.Host != "h1" || c.Port != 5433 || c.Database != "db" ||
		len(c.Fallbacks) != 1 || c.Fallbacks[0].Host != "h2" || c.Fallbacks[0].Port != 5432 {
		t.Errorf("config is %+v", c.Config)
	}
	if cfg.prefix != "other" || !cfg.pooler || cfg.schema != "apart" || cfg.pool.MaxConns != 3 ||
		c.ConnectTimeout != connectTimeout {
		t.Errorf("config is %+v, connect timeout %v", cfg, c.ConnectTimeout)
	}
	for name, want := range map[string]string{"statement_timeout": "5000", "search_path": "apart", "table_prefix": "",
		"pooler": ""} {
		if got := c.RuntimeParams[name]; got != want {
			t.Errorf("the server is told %s=%q, want %q", name, got, want)
		}
	}

	cfg, err = parseDSN("postgresql://h?connect_timeout=2")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.pool.ConnConfig.Database != DefaultDatabase || cfg.prefix != driver.DefaultPrefix || cfg.pooler ||
		cfg.pool.MaxConns != defaultMaxConns || cfg.pool.ConnConfig.ConnectTimeout != 2*time.Second {
		t.Errorf("defaults are %+v, database %q", cfg, cfg.pool.ConnConfig.Database)
	}
}

// TestDSNErrorsHideThePassword parses DSNs with unencoded special characters in passwords, and with other mistakes.
func TestDSNErrorsHideThePassword(t *testing.T) {
	for _, dsn := range []string{
		"mysql://u:secret@h/db",
		"u:secret@h/db",
		"postgres://u:sec/secret@h/db",
		"postgres://u:12/secret@h/db",
		"postgres://u:p@secret@h/db",
		"postgres://u:p@secret/x@h/db",
		"postgres://u:1?a=b/secret@h/db",
		"postgres://u:%zzsecret@h/db",
		"postgres://u:secret@h:port/db",
		"postgres://u:secret@h/db?sslmode=sometimes",
		"postgres://u:secret@h/db?target_session_attrs=none",
		"postgres://u:secret@h/db?sslrootcert=/does/not/exist",
		"postgres://u:secret@h/db?connect_timeout=soon",
		"postgres://u:secret@h/db?pool_max_conns=many",
		"postgres://u:secret@h/db?pool_max_conn_lifetime=long",
		"postgres://u:secret@h/db?password",
		"postgres://u:secret@h1,h2/db?port=1,2,3",
		"postgres://u:secret@h/db?table_prefix=Stele",
		"postgres://u:secret@h/db?table_prefix=a;drop",
		"postgres://u:secret@h/db?table_prefix=",
		"postgres://u:secret@h/db?table_prefix=" + strings.Repeat("a", 41),
		"postgres://u:secret@h/db?pooler=session",
		"postgres://u:secret@[::1/db",
	} {
		_, err := Open(t.Context(), dsn, driver.Options{Logger: quiet()})
		if err == nil || strings.Contains(err.Error(), "secret") || !errors.Is(err, connect.ErrConfiguration) ||
			!strings.HasPrefix(err.Error(), "postgres: ") {
			t.Errorf("%s: %v; want an error of the configuration without the password", dsn, err)
		}
	}
}

// FuzzParseDSN looks for a DSN that breaks the parser or has an invalid prefix.
func FuzzParseDSN(f *testing.F) {
	f.Add("postgres://u:p@h1:5433,h2/db?table_prefix=other&pooler=transaction")
	f.Add("postgres://[::1]:5432/?search_path=a,b")
	f.Add("postgresql://%2Fvar%2Frun/db?sslmode=verify-full&sslrootcert=system")
	f.Fuzz(func(t *testing.T, dsn string) {
		if strings.Contains(dsn, "service") || strings.Contains(dsn, "ssl") || strings.Contains(dsn, "passfile") {
			t.Skip("reads files")
		}
		cfg, err := parseDSN(dsn)
		if err != nil {
			return
		}
		_, prefixErr := driver.TakePrefix(map[string]string{"table_prefix": cfg.prefix})
		if prefixErr != nil || cfg.schema != "" && !validSchema.MatchString(cfg.schema) ||
			cfg.pool.ConnConfig.Database == "" {
			t.Errorf("%q: prefix %q, schema %q, database %q", dsn, cfg.prefix, cfg.schema, cfg.pool.ConnConfig.Database)
		}
		for name := range cfg.pool.ConnConfig.RuntimeParams {
			if name == "table_prefix" || name == "pooler" {
				t.Errorf("%q: %s goes to the server", dsn, name)
			}
		}
		if _, err := Schema(dsn); err != nil {
			t.Errorf("%q: Schema: %v", dsn, err)
		}
	})
}

func TestOptionsOverrideTheDSN(t *testing.T) {
	cfg, err := parseDSN("postgres://u:old@h1,h2,%2Ftmp/db?sslmode=prefer")
	if err != nil {
		t.Fatal(err)
	}
	err = cfg.apply(connect.Options{
		Password: "new",
		TLS:      connect.TLS{SkipVerify: true},
		Pool:     connect.Pool{MaxOpen: 5, MaxIdle: 2, MaxLifetime: time.Hour, MaxIdleTime: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.pool.ConnConfig
	if c.Password != "new" || cfg.pool.MaxConns != 5 || cfg.maxIdle != 2 || cfg.pool.MaxConnLifetime != time.Hour ||
		cfg.pool.MaxConnIdleTime != time.Minute {
		t.Errorf("config is %+v", cfg.pool)
	}
	// No fallback without TLS remains, except for a socket.
	if c.TLSConfig == nil || c.TLSConfig.ServerName != "h1" || len(c.Fallbacks) != 2 ||
		c.Fallbacks[0].TLSConfig == nil || c.Fallbacks[0].TLSConfig.ServerName != "h2" ||
		c.Fallbacks[1].TLSConfig != nil {
		t.Errorf("TLS is %+v, then %+v", c.TLSConfig, c.Fallbacks)
	}
	orderHosts(&c.Config, 4)
	if c.Host != "h2" || c.TLSConfig.ServerName != "h2" || c.Fallbacks[0].Host != "/tmp" ||
		c.Fallbacks[1].Host != "h1" || c.Fallbacks[1].TLSConfig.ServerName != "h1" {
		t.Errorf("after one turn the first host is %s, then %+v", c.Host, c.Fallbacks)
	}
	missing := connect.TLS{CAFile: filepath.Join(t.TempDir(), "none")}
	if err := cfg.apply(connect.Options{TLS: missing}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a CA that is not there: %v", err)
	}
}

// TestFilesAreReadAgain replaces the files that the DSN and the options name: certificates and password files.
func TestFilesAreReadAgain(t *testing.T) {
	authority := tlstest.New(t)
	cert := authority.Issue(t, "one")
	passfile := filepath.Join(t.TempDir(), "pgpass")
	write := func(password string) {
		if err := os.WriteFile(passfile, []byte("h:5432:*:u:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	dsn := "postgres://u@h/db?sslmode=verify-full&passfile=" + passfile
	for in, test := range map[string]struct {
		dsn  string
		opts connect.TLS
	}{
		"DSN": {dsn + "&sslrootcert=" + cert.CAFile + "&sslcert=" + cert.CertFile + "&sslkey=" + cert.KeyFile,
			connect.TLS{}},
		"options": {dsn, connect.TLS{CAFile: cert.CAFile, CertFile: cert.CertFile, KeyFile: cert.KeyFile}},
	} {
		cfg, err := parseDSN(test.dsn)
		if err == nil {
			err = cfg.apply(connect.Options{TLS: test.opts})
		}
		if err != nil {
			t.Fatal(err)
		}
		before := cfg.pool.ConnConfig
		next := authority.Issue(t, "two")
		for from, to := range map[string]string{next.CertFile: cert.CertFile, next.KeyFile: cert.KeyFile} {
			content, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		write("two of " + in)
		after, err := cfg.reload()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(before.TLSConfig.Certificates[0].Certificate[0],
			after.TLSConfig.Certificates[0].Certificate[0]) || before.Password == after.Password {
			t.Errorf("%s: the certificate or the password %q is as before", in, after.Password)
		}
	}
}

func TestTLSIsVerifiedByDefault(t *testing.T) {
	//nolint:gosec // what sslmode=require makes
	dsn := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}}
	wanted := &tls.Config{MinVersion: tls.VersionTLS12}
	if merged := mergeTLS(wanted, dsn, "h"); merged.InsecureSkipVerify || merged.ServerName != "h" ||
		len(merged.NextProtos) != 1 {
		t.Errorf("merged into %+v", merged)
	}
}
