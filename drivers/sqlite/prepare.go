package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/migrations"
	"github.com/stele-db/stele/logstructured/log"
	sqlite3 "modernc.org/sqlite/lib"
)

// initialize creates the file if necessary and applies the migrations. It may be called again after a failure.
func (l *Log) initialize(created bool) (err error) {
	mode := readWrite
	if created {
		mode = create
	}
	c, err := openConn(l.cfg.path, mode, l.cfg.vfs)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.readOnly() {
		return &Error{Code: sqlite3.SQLITE_READONLY, Message: "the file could be opened for reading only"}
	}
	if _, err := schemaVersion(c, l.cfg); err != nil {
		return err // before writing anything
	}
	if created {
		// SQLite has created an empty file. It later gives the WAL the same permissions.
		if err := os.Chmod(l.cfg.path, 0o600); err != nil {
			return err
		}
		// Writing the first page fixes both settings. Incremental vacuum allows the file to shrink without being
		// rewritten.
		if err := c.exec(fmt.Sprintf(`PRAGMA page_size = %d`, pageSize)); err != nil {
			return err
		}
		if err := c.exec(`PRAGMA auto_vacuum = INCREMENTAL`); err != nil {
			return err
		}
	}
	journal, err := c.strings(`PRAGMA journal_mode = WAL`)
	if err != nil {
		return err
	}
	if len(journal) != 1 || journal[0] != "wal" {
		return &openFailure{path: l.cfg.path, text: "cannot use a write-ahead log: put it on a local file system"}
	}
	if err := l.configure(c, writerCacheKiB); err != nil {
		return err
	}
	page, err := c.int64s(`PRAGMA page_size`, 1)
	if err != nil {
		return err
	}
	l.pageSize.Store(page[0])
	if err := migrate(c, l.cfg); err != nil {
		return err
	}
	if created {
		// Sync the file's directory entry, and the removal of the rollback journal that SQLite used before WAL mode was
		// set. If the journal reappeared after a loss of power, it would undo everything.
		if err := l.cfg.syncDir(filepath.Dir(l.cfg.path)); err != nil {
			return err
		}
	}
	l.writer, err = newWriter(c)
	return err
}

// configure applies the settings that SQLite does not store in the file.
func (l *Log) configure(c *conn, cacheKiB int) error {
	synchronous := "FULL"
	if l.cfg.synchronous != "" {
		synchronous = l.cfg.synchronous
	}
	for _, pragma := range []string{
		`PRAGMA synchronous = ` + synchronous,
		// On macOS, sync to the disk and not only to its cache. No effect elsewhere.
		`PRAGMA fullfsync = 1`,
		`PRAGMA checkpoint_fullfsync = 1`,
		`PRAGMA wal_autocheckpoint = 0`,
		fmt.Sprintf(`PRAGMA journal_size_limit = %d`, walKeepBytes),
		fmt.Sprintf(`PRAGMA cache_size = -%d`, cacheKiB),
	} {
		if err := c.exec(pragma); err != nil {
			return err
		}
	}
	return l.inPlace() // the connection may have opened another file at that path
}

const (
	// pageSize is the page size of new files. DESIGN.md has the measurements.
	pageSize       = 4096
	writerCacheKiB = 4096
	readerCacheKiB = 1024
)

// schemaVersion returns the number of the newest applied migration, or 0 for a database in which a log may be created.
func schemaVersion(c *conn, cfg config) (int, error) {
	tables, err := c.strings(`SELECT name FROM sqlite_schema
		WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return 0, err
	}
	kine, foreign, version := false, "", 0
	for _, table := range tables {
		switch {
		case table == "stele_schema":
			if version, err = readSchemaVersion(c, cfg.path); err != nil {
				return 0, err
			}
		case table == "kine":
			kine = true
		case !strings.HasPrefix(table, "_litestream_") && !strings.HasPrefix(table, "stele_"):
			foreign = table
		}
	}
	switch {
	case kine && !cfg.besideKine:
		empty := []int64{0}
		if version > 0 {
			if empty, err = c.int64s(`SELECT NOT EXISTS (SELECT 1 FROM stele_log)`, 1); err != nil {
				return 0, err
			}
		}
		if version == 0 || empty[0] != 0 {
			return 0, connect.ErrKine
		}
	case version == 0 && foreign != "" && !kine:
		return 0, &openFailure{path: cfg.path, text: fmt.Sprintf("is the database of another program "+
			"(it has a table %q and no Stele log): name another file", foreign)}
	}
	return version, nil
}

// readSchemaVersion reads the row of stele_schema, whose table must exist. Files made by an early version lack the
// column `compatible`.
func readSchemaVersion(c *conn, path string) (int, error) {
	query := `SELECT version, 1 FROM stele_schema`
	if has, err := compatibleColumn.exists(c); err != nil {
		return 0, err
	} else if has {
		query = `SELECT version, compatible FROM stele_schema`
	}
	row, err := c.int64s(query, 2)
	if err != nil {
		return 0, err
	}
	if len(row) == 0 || row[0] < 1 {
		return 0, &openFailure{
			path, "holds a Stele log without a schema version: restore it from a backup", log.ErrCorrupt,
		}
	}
	if int(row[1]) > len(scripts) {
		return 0, &openFailure{path: path, text: migrations.TooOld("was", int(row[0]), int(row[1]), len(scripts))}
	}
	return int(row[0]), nil
}

// openFailure is a reason not to open a file, as one sentence.
type openFailure struct {
	path, text string
	sentinel   error
}

func (e *openFailure) Error() string { return e.path + " " + e.text }

func (e *openFailure) Unwrap() error { return e.sentinel }

const (
	// walRestartBytes is the size of the WAL above which writers wait briefly so that it can restart from its
	// beginning. While they write without a pause, no checkpoint completes.
	walRestartBytes = 16 << 20
	// walKeepBytes is the size to which the WAL shrinks at a restart. It is kept because overwriting a file is faster
	// than extending it.
	walKeepBytes = walRestartBytes
)
