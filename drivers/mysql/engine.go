package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// engine holds the differences between the databases that speak MySQL's protocol. Each connection has the engine of its
// server (see engineOf), because a server may join or leave a Galera cluster while the log is open.
type engine interface {
	// settings returns the session settings that only this engine needs. has holds the server's variables, and syncWait
	// is the connector's.
	settings(has map[string]string, syncWait int) []setting
	// append runs a, and runs it again where the engine ends an append that another attempt may complete.
	append(ctx context.Context, a appending) (log.Timestamp, error)
	// optimize runs an OPTIMIZE TABLE.
	optimize(ctx context.Context, s *session, statement string) error
	// unsynced warns of a server that does not sync its log at each commit.
	unsynced() string
}

// engineOf returns the engine of a server with these variables.
func engineOf(variables map[string]string) engine {
	if isOn(variables["wsrep_on"]) {
		return galera{}
	}
	if len(present(variables, tiDBSettings)) > 0 {
		return tiDB{}
	}
	return innoDB{}
}

// innoDB is the engine of MySQL and MariaDB.
type innoDB struct{}

func (innoDB) settings(map[string]string, int) []setting { return nil }

func (innoDB) append(ctx context.Context, a appending) (log.Timestamp, error) { return a.run(ctx) }

func (innoDB) optimize(ctx context.Context, s *session, statement string) error {
	var failed error
	err := s.query(ctx, statement, nil, func(row []driver.Value) error {
		// The columns are Table, Op, Msg_type, Msg_text. InnoDB reports as a note that it recreates the table.
		if len(row) == 4 && text(row[2]) == "error" {
			failed = errors.Join(failed, errors.New(text(row[3])))
		}
		return nil
	})
	if err == nil && failed != nil {
		err = fmt.Errorf("optimize: %w", failed)
	}
	return err
}

func (innoDB) unsynced() string {
	return "THE DATABASE DOES NOT SYNC ITS LOG AT EACH COMMIT: " +
		"acknowledged writes are LOST when the machine loses power; set innodb_flush_log_at_trx_commit = 1"
}
