package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// The exact file size requires the PROCESS privilege, and its table has different names on MySQL and MariaDB. The table
// size below is an estimate that the server refreshes when a tenth of the rows has changed. DATA_FREE is exact.
var fileSizeSQL = []string{
	`SELECT FILE_SIZE FROM information_schema.INNODB_SYS_TABLESPACES WHERE NAME = CONCAT(DATABASE(), '/', ?)`,
	`SELECT FILE_SIZE FROM information_schema.INNODB_TABLESPACES WHERE NAME = CONCAT(DATABASE(), '/', ?)`,
}

const tableSizeSQL = `SELECT DATA_LENGTH + INDEX_LENGTH, DATA_FREE FROM information_schema.TABLES
	WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?`

// Size implements [log.Log].
func (l *Log) Size(ctx context.Context) (size log.Size, err error) {
	err = l.run(ctx, l.others, func(ctx context.Context, s *session) error {
		table := []driver.NamedValue{{Ordinal: 1, Value: l.cfg.sql("{prefix}_log")}}
		var data, free int64
		if err := s.query(ctx, tableSizeSQL, table, func(row []driver.Value) error {
			data, free = integer(row[0]), integer(row[1])
			return nil
		}); err != nil {
			return err
		}
		size = log.Size{Total: data + free, InUse: data}
		for _, query := range fileSizeSQL {
			var file int64
			switch err := s.query(ctx, query, table, func(row []driver.Value) error {
				file = integer(row[0])
				return nil
			}); {
			case number(err) != 0:
				continue // no privilege, or no such table
			case err != nil:
				return err
			case file > 0:
				size = log.Size{Total: file, InUse: max(0, file-free)}
				return nil
			}
		}
		return nil
	})
	return size, translate("size", err)
}

// Defragment implements [log.Log]. The server rebuilds the table online; on Galera all nodes wait for it.
func (l *Log) Defragment(ctx context.Context) error {
	return translate("defragment", l.run(ctx, l.others, func(ctx context.Context, s *session) error {
		if err := s.refuseReadOnly(ctx); err != nil {
			return err
		}
		var failed error
		err := s.query(ctx, l.cfg.sql(`OPTIMIZE TABLE {prefix}_log`), nil, func(row []driver.Value) error {
			// The columns are Table, Op, Msg_type, Msg_text. InnoDB reports as a note that it recreates the table.
			if len(row) == 4 && text(row[2]) == "error" {
				failed = errors.Join(failed, errors.New(text(row[3])))
			}
			return nil
		})
		if err == nil && failed != nil {
			err = fmt.Errorf("optimize: %w", failed)
		}
		return s.engine.optimized(err)
	}))
}
