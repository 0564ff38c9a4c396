package drivers

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
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
		if err := l.Append(context.Background(), logstructured.Head{}, 1, []logstructured.Entry{{Kind: logstructured.KindPut, Key: []byte("k")}}); err != nil {
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
		"postgres://user:secret@host/db":     "postgres://...: this database is not in this version yet",
		"mysql://user:secret@tcp(host)/db":   "mysql://...: this database is not in this version yet",
		"user:secret@tcp(127.0.0.1:3306)/db": "data source name has no scheme",
		"nats://secret@host":                 "Stele does not use this kind of store",
		"https://secret@host:2379":           "Stele does not use this kind of store",
		"sqlserver://secret@host":            `unknown scheme "sqlserver"`,
	} {
		l, err := Open(context.Background(), dsn, options())
		if err == nil || l != nil || !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v; want %q and no password", dsn, l, err, want)
		}
	}
	if l, err := Open(context.Background(), "sqlite://.", options()); err == nil || l != nil {
		t.Errorf("a directory: %v, %v", l, err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
		t.Errorf("files were created: %v, %v", entries, err)
	}
}
