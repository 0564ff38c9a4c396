package mysql

import (
	"context"

	"github.com/stele-db/stele/logstructured/log"
)

// engine holds the differences between the databases that speak MySQL's protocol. Each connection has the engine of its
// server (see engineOf), because a server may join or leave a Galera cluster while the log is open.
type engine interface {
	// settings returns the session settings that only this engine needs. has holds the server's variables, and syncWait
	// is the connector's.
	settings(has map[string]string, syncWait int) []setting
	// append runs a, and runs it again where the engine ends an append that another attempt may complete.
	append(ctx context.Context, a attempt) (log.Timestamp, error)
	// optimized returns the outcome of OPTIMIZE TABLE, which returned err.
	optimized(err error) error
	// unsynced warns of a server that does not sync its log at each commit.
	unsynced() string
}

// setting is a session variable and its value in SQL.
type setting struct{ name, value string }

// attempt is an append as an engine sees it.
type attempt interface {
	// run sends the append once, and returns its time.
	run(ctx context.Context) (log.Timestamp, error)
	// usable reports whether the append can be sent again on the same connection.
	usable() bool
	// lagged reports whether the newest row is the append's head after all.
	lagged(ctx context.Context) bool
	// retried turns the error of a second attempt into the outcome of the append.
	retried(ctx context.Context, err error) error
}

// present returns the settings whose variables the server has.
func present(variables map[string]string, all []setting) []setting {
	var found []setting
	for _, s := range all {
		if _, ok := variables[s.name]; ok {
			found = append(found, s)
		}
	}
	return found
}
