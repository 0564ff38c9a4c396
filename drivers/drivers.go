package drivers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/sqlite"
	"github.com/stele-db/stele/logstructured"
)

// DefaultDSN is what an empty DSN stands for: kine's default file.
const DefaultDSN = "sqlite://./db/state.db"

// ErrUnsupported means that the DSN names a database that this version cannot use.
var ErrUnsupported = errors.New("database is not supported")

// Options configure a log beyond its DSN.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
}

// Open opens the log at dsn, creating it if the database allows:
//
//   - "sqlite://PATH?options": a SQLite file; package sqlite documents the options. "PATH" without a scheme is the same.
//   - "litestream://PATH?options": the same, with all checkpoints left to Litestream.
//   - "": [DefaultDSN].
//
// The error of any other scheme wraps [ErrUnsupported].
func Open(ctx context.Context, dsn string, opts Options) (logstructured.Log, error) {
	if dsn == "" {
		dsn = DefaultDSN
	}
	scheme, rest, found := strings.Cut(dsn, "://")
	if !found {
		// A "PATH" or "PATH?options" as kine's own default has it. What looks like a DSN of another
		// driver's own making ("user:password@tcp(host)/db") is more likely a forgotten scheme than a file.
		if strings.Contains(dsn, "@") {
			return nil, fmt.Errorf("data source name has no scheme: write sqlite://PATH (%w)", ErrUnsupported)
		}
		scheme, rest = "sqlite", dsn
	}
	switch scheme {
	case "sqlite":
	case "litestream":
		rest = withOption(rest, "checkpoint=external")
	case "postgres", "postgresql", "mysql":
		return nil, fmt.Errorf("%s://...: this database is not in this version yet; use sqlite://PATH (%w)", scheme, ErrUnsupported)
	case "nats", "http", "https", "t4", "split":
		return nil, fmt.Errorf("%s://...: Stele does not use this kind of store; use sqlite://PATH (%w)", scheme, ErrUnsupported)
	default:
		return nil, fmt.Errorf("unknown scheme %q: write sqlite://PATH (%w)", scheme, ErrUnsupported)
	}
	log, err := sqlite.Open(ctx, rest, sqlite.Options{Logger: opts.Logger})
	if err != nil {
		return nil, err // and not a nil *sqlite.Log in an interface
	}
	return log, nil
}

func withOption(dsn, option string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + option
	}
	return dsn + "?" + option
}
