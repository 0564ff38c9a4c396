package mysql

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

func TestParseDSN(t *testing.T) {
	for _, test := range []struct {
		dsn                      string
		net                      string
		addresses                []string
		user, password, database string
		prefix                   string
	}{
		{"mysql://", "unix", []string{"/var/run/mysqld/mysqld.sock"}, "root", "", "kubernetes", "stele"},
		{"mysql://u:p@tcp(db.example:3307)/k?parseTime=true", "tcp", []string{"db.example:3307"}, "u", "p", "k",
			"stele"},
		{"mysql://u:p@tcp(db.example)", "tcp", []string{"db.example:3306"}, "u", "p", "kubernetes", "stele"},
		{"mysql://u:p/@:w@tcp(db)/?table_prefix=other_1", "tcp", []string{"db:3306"}, "u", "p/@:w", "kubernetes",
			"other_1"},
		{"mysql://u:p@unix(/run/my.sock)/k", "unix", []string{"/run/my.sock"}, "u", "p", "k", "stele"},
		{"mysql://u:p@tcp(a,b)/k", "tcp", []string{"a:3306", "b:3306"}, "u", "p", "k", "stele"},
		{"mysql://u:p@tcp(a:1,b:2,c:3)/k", "tcp", []string{"a:1", "b:2", "c:3"}, "u", "p", "k", "stele"},
		{"mysql://u:p@tcp(a:1, b)/k", "tcp", []string{"a:1", "b:3306"}, "u", "p", "k", "stele"},
		{"mysql://u:p@tcp([::1]:1,[::2]:2)/k", "tcp", []string{"[::1]:1", "[::2]:2"}, "u", "p", "k", "stele"},
	} {
		cfg, err := parseDSN(test.dsn)
		if err != nil {
			t.Errorf("%s: %v", test.dsn, err)
			continue
		}
		var addresses []string
		for _, s := range cfg.servers {
			addresses = append(addresses, s.Addr)
			if s.Net != test.net || s.User != test.user || s.Passwd != test.password || s.DBName != test.database {
				t.Errorf("%s: %s %s %s", test.dsn, s.Net, s.User, s.DBName)
			}
			if s.InterpolateParams || s.Params["table_prefix"] != "" || s.MaxAllowedPacket != 0 || s.Timeout == 0 {
				t.Errorf("%s: %+v", test.dsn, s)
			}
		}
		if !slices.Equal(addresses, test.addresses) || cfg.database != test.database || cfg.prefix != test.prefix {
			t.Errorf("%s: %v %s %s", test.dsn, addresses, cfg.database, cfg.prefix)
		}
	}
}

func TestParseDSNRefuses(t *testing.T) {
	for _, dsn := range []string{
		"mysql://u:secret@tcp(db/k", "mysql://u:secret@tcp(db)/k?table_prefix=A",
		"mysql://u:secret@tcp(db)/k?table_prefix=0a",
		"mysql://u:secret@tcp(db)/k?table_prefix=a`b", "mysql://u:secret@tcp(db)/k?strict=true",
		"mysql://u:secret@tcp(db)/k?a=b&strict=true",
		"mysql://u:secret@tcp(db)/k?tls=unknown", "mysql://u:secret%zz@tcp(db)/%zz",
		"mysql://u:secret@tcp(db)/?timeout=secret",
		"mysql://u:pw?interpolateParams=secret/@x",
	} {
		_, err := parseDSN(dsn)
		if err == nil {
			t.Errorf("%s: no error", dsn)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

func TestTLSNames(t *testing.T) {
	for _, dsn := range []string{"mysql://u@tcp(a:1,b:2)/?tls=true", "mysql://u@tcp(a:1,b:2)/"} {
		cfg, err := parseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(dsn, "tls") {
			// The options require TLS and name no CA, so the system's certificates apply.
			if err := cfg.apply(connect.Options{TLS: connect.TLS{SkipVerify: true}, Password: "other"}); err != nil {
				t.Fatal(err)
			}
			if cfg.servers[0].Passwd != "other" || !cfg.servers[1].TLS.InsecureSkipVerify {
				t.Errorf("%+v", cfg.servers[1])
			}
			continue
		}
		for i, host := range []string{"a", "b"} {
			if tls := cfg.servers[i].TLS; tls == nil || tls.ServerName != host || tls.InsecureSkipVerify {
				t.Errorf("server %s: %+v", host, tls)
			}
		}
	}
}

// TestServerName connects by address to servers whose certificates have names.
func TestServerName(t *testing.T) {
	for _, dsn := range []string{"mysql://u@tcp(10.0.0.1,10.0.0.2)/?tls=true&server_name=db.example",
		"mysql://u@tcp(10.0.0.1)/?server_name=db.example"} {
		cfg, err := parseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		opts := connect.Options{}
		if !strings.Contains(dsn, "tls") {
			if err := cfg.apply(opts); err == nil {
				t.Errorf("%s: no error without TLS", dsn)
			}
			opts.TLS.SkipVerify = true
			if err := cfg.apply(opts); err == nil {
				t.Errorf("%s: no error without verification", dsn)
			}
			continue
		}
		if err := cfg.apply(opts); err != nil {
			t.Fatal(err)
		}
		for _, server := range cfg.servers {
			if server.TLS.ServerName != "db.example" || server.Params["server_name"] != "" {
				t.Errorf("%s: %+v", dsn, server)
			}
		}
	}
}

// TestSilentServer names first a server that accepts connections and sends nothing.
func TestSilentServer(t *testing.T) {
	s := database.Shared(t, kind())
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	dsn := strings.Replace(s.DSN(t), s.Address(1), silent.Addr().String()+","+s.Address(1), 1)
	// A call with a short deadline fails on it, and makes the next call try another server.
	cfg, err := parseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConnector(cfg, quiet(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Connect: %v", err)
	}
	conn, err := c.Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	// With a timeout for each server one call is enough.
	l := openLog(t, dsn+"?timeout=300ms")
	mustAppend(t, l, log.Head{}, drivertest.BenchEntries(1))
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
