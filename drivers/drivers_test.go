package drivers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

func options() Options {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return Options{Logger: logrus.NewEntry(logger)}
}

func TestOpen(t *testing.T) {
	t.Chdir(t.TempDir())
	for dsn, file := range map[string]string{
		"":                                   "db/state.db",
		"sqlite://a/b.db":                    "a/b.db",
		"sqlite://./c.db?busy_timeout=1s":    "c.db",
		"d.db":                               "d.db",
		"i.db?mode=rwc&_journal=WAL":         "i.db",
		"./postgres":                         "postgres",
		"data/port=1.db":                     "data/port=1.db",
		"./e/f.db?_journal_mode=WAL":         "e/f.db",
		"litestream://g.db":                  "g.db",
		"litestream://h.db?_busy_timeout=10": "h.db",
		"sqlite://" + filepath.Join(t.TempDir(), "abs.db"): "",
	} {
		l, err := Open(context.Background(), dsn, options())
		if err != nil {
			t.Errorf("%q: %v", dsn, err)
			continue
		}
		if err := l.Append(context.Background(), log.Head{}, 1,
			[]log.Entry{{Kind: log.KindPut, Key: []byte("k")}}); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%q: %v", dsn, err)
		}
		// Litestream's WAL stays.
		if _, err := os.Stat(file + "-wal"); (err == nil) != strings.HasPrefix(dsn, "litestream") {
			t.Errorf("%q: WAL after Close: %v", dsn, err)
		}
	}
}

func TestOpenUnsupported(t *testing.T) {
	t.Chdir(t.TempDir())
	for dsn, want := range map[string]string{
		"user:secret@tcp(127.0.0.1:3306)/db":         "data source name has no scheme",
		"user:secret@tcp(127.0.0.1:3306)/db?x=a://b": "data source name has no scheme",
		"user:secret://with@tcp(127.0.0.1:3306)/db":  "data source name has no scheme",
		"sqlite:state.db":                            "sqlite://PATH",
		"sqlite":                                     "data source name has no scheme",
		"postgres":                                   "postgres://USER",
		"Postgres:secret":                            "data source name has no scheme",
		"mysql:/secret":                              "mysql://USER",
		"dbname=kube password=secret":                "data source name has no scheme",
		"password = secret dbname=kube":              "data source name has no scheme",
		"host=db user=kube password=secret?x=a://b":  "data source name has no scheme",
		"tcp(127.0.0.1:3306)/secret":                 "data source name has no scheme",
		"unix(/run/mysqld/mysqld.sock)/secret":       "data source name has no scheme",
		"db.example:5432/secret":                     "data source name has no scheme",
		"nats://secret@host":                         "Stele does not use this kind of store",
		"https://secret@host:2379":                   "Stele does not use this kind of store",
		"sqlserver://secret@host":                    `unknown scheme "sqlserver"`,
	} {
		l, err := Open(context.Background(), dsn, options())
		if err == nil || l != nil || !errors.Is(err, ErrUnsupported) || !errors.Is(err, connect.ErrConfiguration) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", dsn, l, err, want)
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(Describe(dsn), "secret") {
			t.Errorf("%q: the password is in %q or %q", dsn, err, Describe(dsn))
		}
	}
	if l, err := Open(context.Background(), "sqlite://.", options()); !errors.Is(err, connect.ErrConfiguration) ||
		l != nil {
		t.Errorf("a directory: %v, %v", l, err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
		t.Errorf("files were created: %v, %v", entries, err)
	}
}

func TestDescribe(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGSERVICE"} {
		t.Setenv(name, "") // they are defaults of what the DSN leaves out
	}
	for _, test := range [][2]string{
		{"", dir + "/db/state.db"},
		{"a.db", dir + "/a.db"},
		{"sqlite:///var/x.db?cache=1", "/var/x.db"},
		{"litestream://b.db", dir + "/b.db"},
		{"postgres://u:secret@db.example", "postgres://db.example:5432/kubernetes"},
		{"postgres://u:secret@db.example:6000/stele?sslmode=require", "postgres://db.example:6000/stele"},
		{"postgresql://u:secret@h1:1,h2:2/d?target_session_attrs=read-write", "postgres://h1:1,h2:2/d"},
		{"postgres://u:sec%40ret@[::1]/d?table_prefix=blue", "postgres://[::1]:5432/d?table_prefix=blue"},
		{"postgres://h/d?user=u&password=secret", "postgres://h:5432/d"},
		{"postgres:///d?host=/run/postgresql&password=secret", "postgres:///run/postgresql/d"},
		{"postgres://u:sec?ret@h/d", "postgres://h:5432/d"},
		{"postgres://u:p@secret@h/d", "postgres://..."},
		{"postgres://u:12/secret@h/d", "postgres://..."},
		{"postgres://u:secret@h:port/d", "postgres://..."},
		{"mysql://u:secret@tcp(db.example)/stele?timeout=3s", "mysql://db.example:3306/stele"},
		{"mysql://u:sec@r/et@tcp(10.0.0.1:3307)/", "mysql://10.0.0.1:3307/kubernetes"},
		{"mariadb://u:secret@unix(/run/mysqld/mysqld.sock)/d?table_prefix=blue",
			"mysql:///run/mysqld/mysqld.sock/d?table_prefix=blue"},
		{"mysql://u:secret@db.example:3306/stele", "mysql://..."},
		{"mysql://u:secret@tcp(db.example)", "mysql://db.example:3306/kubernetes"},
		{"mysql://", "mysql:///var/run/mysqld/mysqld.sock/kubernetes"},
		{"mysql://u:secret@tcp(h1:1,h2:2,h3)/d", "mysql://h1:1,h2:2,h3:3306/d"},
		{"mysql://u:sec/ret@tcp(db.example)", "mysql://..."},
		{"sqlserver://u:secret@h", "sqlserver://..."},
		{"u:secret@tcp(h)/d", "..."},
		{"u:secret@tcp(h)/d?x=://", "..."},
	} {
		dsn, want := test[0], test[1]
		if got := Describe(dsn); got != want {
			t.Errorf("%q is described as %q, want %q", dsn, got, want)
		}
	}
}

func TestRemote(t *testing.T) {
	for dsn, want := range map[string]bool{
		"": false, "a.db": false, "sqlite://a.db": false, "litestream://a.db": false, "nats://h": false,
		"postgres://h/d": true, "postgresql://h/d": true, "mysql://tcp(h)/d": true, "mariadb://tcp(h)/d": true,
	} {
		if Remote(dsn) != want {
			t.Errorf("%q: remote %v", dsn, !want)
		}
	}
}

// TestErrorsShowNoPassword checks that no error of an invalid DSN or of a refused connection contains the password.
func TestErrorsShowNoPassword(t *testing.T) {
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dsn := range []string{
		"postgres://u:secret@ADDRESS/d",
		"postgres://u:secret@ADDRESS,ADDRESS/d?target_session_attrs=read-write",
		"postgres://ADDRESS/d?user=u&password=secret",
		"postgres://u:secret@host:port/d",
		"postgres://u:sec%ret@ADDRESS/d",
		"postgres://u:p@secret@ADDRESS/d",
		"postgres://u:p/secret@ADDRESS/d",
		"postgres://u:p?secret@ADDRESS/d",
		"postgres://u:p#secret@ADDRESS/d",
		"postgres://u:p secret@ADDRESS/d",
		"postgres://u:secret@ADDRESS/d?sslmode=perhaps",
		"postgres://u:secret@ADDRESS/d?connect_timeout=soon",
		"postgres://u:secret@ADDRESS/d?pool_max_conns=many",
		"postgres://u:secret@ADDRESS/d?table_prefix=a-b",
		"postgres://u:secret@ADDRESS/d?sslrootcert=/no/such.crt&sslmode=verify-full",
		"mysql://u:secret@tcp(ADDRESS)/d",
		"mysql://u:secret@tcp(ADDRESS,ADDRESS)/d",
		"mysql://u:secret@ADDRESS/d",
		"mysql://u:secret@tcp(ADDRESS/d",
		"mysql://u:p/secret@tcp(ADDRESS)",
		"mysql://u:p@secret@tcp(ADDRESS)/d",
		"mysql://u:secret@tcp(ADDRESS)/d?timeout=soon",
		"mysql://u:secret@tcp(ADDRESS)/d?tls=perhaps",
		"mysql://u:secret@tcp(ADDRESS)/d?table_prefix=a-b",
		"mysql://u:secret@tcp(ADDRESS)/%zz",
	} {
		dsn = strings.ReplaceAll(dsn, "ADDRESS", address)
		var said bytes.Buffer
		opts := options()
		opts.Logger.Logger.SetOutput(&said)
		opts.Logger.Logger.SetLevel(logrus.TraceLevel)
		for _, password := range []string{"", "secret"} {
			opts.Password = password
			l, err := Open(t.Context(), dsn, opts)
			if err == nil || l != nil {
				t.Fatalf("%s: %v, %v", dsn, l, err)
			}
			if strings.Contains(err.Error()+said.String()+Describe(dsn), "secret") {
				t.Errorf("%s: %q and in the log %q", dsn, err, said.String())
			}
		}
		if _, err := Schema(dsn); err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: schema: %q", dsn, err)
		}
	}
	for _, dsn := range []string{"postgres://u:secret@" + address + "/d", "mysql://u:secret@tcp(" + address + ")/d"} {
		if _, err := Open(t.Context(), dsn, options()); errors.Is(err, connect.ErrConfiguration) {
			t.Errorf("%s: a server that may come is a matter of configuration: %v", dsn, err)
		}
	}
}

// TestUnknownHostIsRecognized has the drivers look up a name that never exists.
func TestUnknownHostIsRecognized(t *testing.T) {
	var dns *net.DNSError
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "no-such.invalid"); !errors.As(err, &dns) ||
		!dns.IsNotFound {
		t.Skipf("there is no resolver: %v", err)
	}
	for dsn, want := range map[string]bool{
		"postgres://u@no-such.invalid/d":                       true,
		"postgres://u@no-such.invalid,other.invalid/d":         true,
		"postgres://u@no-such.invalid/d?sslmode=disable":       true,
		"postgres://u@127.0.0.1:1,no-such.invalid:1/d":         false,
		"mysql://u@tcp(no-such.invalid)/d":                     true,
		"mysql://u@tcp(no-such.invalid,other.invalid)/d":       true,
		"mysql://u@tcp(no-such.invalid:1,127.0.0.1:1)/d":       false,
		"mysql://u@unix(/no/such/directory/of/a/server.sock)/": false,
	} {
		_, err := Open(t.Context(), dsn, options())
		if err == nil || connect.UnknownHost(err) != want || errors.Is(err, connect.ErrConfiguration) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}
