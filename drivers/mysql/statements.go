package mysql

import (
	"strings"
	"time"
)

// nowSQL is the server's clock in milliseconds since 1970. UTC_TIMESTAMP does not depend on the time zone and is
// constant within a statement.
const nowSQL = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000`

// newestSQL is the newest row, found at the right edge of the clustered index. LIMIT makes it a derived table, which
// also allows an INSERT to read the table that it writes (error 1093).
const newestSQL = `(SELECT position, id FROM {prefix}_log ORDER BY position DESC LIMIT 1) newest`

// writableSQL reports whether the server's read_only is off. Every statement that writes includes it, because the
// server does not stop users with the privilege SUPER, READ ONLY ADMIN or CONNECTION_ADMIN. super_read_only (MySQL)
// implies read_only. Later versions of MariaDB have several read-only values.
const writableSQL = `CAST(@@global.read_only AS CHAR) IN ('0', 'OFF')`

// firstPositionSQL computes the position of an append's first row and so checks the append's precondition. Parameters:
// position and id of the head, and the position of the row. If the log has another head, the result is the position of
// the sentinel, so that the INSERT fails in every SQL mode. On a read-only server it is NULL, which fails with an error
// of its own (1048); in a mode that turns NULL into 0, the INSERT fails with the sentinel's error.
const firstPositionSQL = `IF(` + writableSQL + `,
	IF((SELECT newest.position = ? AND newest.id = ? FROM ` + newestSQL + `), ?, 0), NULL)`

// insertSQL begins an append. LAST_INSERT_ID(x) evaluates to x and returns it in the server's answer, so that the
// driver learns the time without another query.
const (
	insertSQL = `INSERT INTO {prefix}_log (position, id, time, kind, revision, sub, ` + "`key`" + `,
	create_revision, version, lease, value, checksum) VALUES `
	firstRowSQL = `(` + firstPositionSQL + `, ?, LAST_INSERT_ID(` + nowSQL + `), ?, ?, ?, ?, ?, ?, ?, ?, ` +
		checksumSQL + `)`
	timedRowSQL = `(?, ?, ` + nowSQL + `, ?, ?, ?, ?, ?, ?, ?, ?, ` + checksumSQL + `)`
	plainRowSQL = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ` + checksumSQL + `)`
)

// checksumSQL combines a checksum with the row's time, which precedes it in the row; see log.Checksum.At.
const checksumSQL = `CAST(? ^ ((time ^ (time >> 32)) << 32) AS SIGNED)`

const (
	headParameters = 2 // in addition to the row's own
	rowParameters  = 11
	// maxRows is the largest INSERT that the protocol's limit of 65535 parameters allows.
	maxRows = (65535 - headParameters) / rowParameters
)

// endSQL reads the end of the log: the newest row and the row of the store table. Subqueries need no temporary table; a
// join did, and cost the server a third more time per poll. The query includes read_only because a read-only server may
// not have the newest entry.
const endSQL = `SELECT position, id, ` + storeSQL + `, ` + nowSQL + `, @@global.read_only
	FROM {prefix}_log ORDER BY position DESC LIMIT 1`

// storeSQL reads the row of the store table.
const storeSQL = `(SELECT floor FROM {prefix}_store), (SELECT cluster_id FROM {prefix}_store)`

// endRowSQL returns the end in the shape of a log row. Two SELECTs in one statement read from one snapshot. UNION ALL
// sends the rows of the first SELECT and then those of the second as they come. Joining the end to the rows would need
// a temporary table or another sort.
const endRowSQL = `(SELECT position, id, ` + nowSQL + ` AS time, 0 AS kind, ` + storeSQL + `,
	NULL AS k, 0, 0, 0, NULL AS v, 0, 0
	FROM {prefix}_log ORDER BY position DESC LIMIT 1) UNION ALL `

// rowSQL are the columns of an entry before its value.
const rowSQL = `position, id, time, kind, revision, sub, ` + "`key`" + `, create_revision, version, lease`

const (
	readSQL = endRowSQL + `(SELECT ` + rowSQL + `, value, 0, checksum
	FROM {prefix}_log WHERE position > ? ORDER BY position LIMIT ?)`
	// A scan leaves the values of puts out. It keeps the end and the rows consistent by a transaction: in one UNION the
	// rows would take half as long again.
	scanSQL = `SELECT ` + rowSQL + `, IF(kind = 1, NULL, value), LENGTH(value), checksum
	FROM {prefix}_log WHERE position > ? ORDER BY position`
)

// endRowValuesSQL is endRowSQL for Values.
const endRowValuesSQL = `(SELECT position, id, ` + nowSQL + ` AS time, 0 AS kind, ` + storeSQL + `, NULL AS v, 0
	FROM {prefix}_log ORDER BY position DESC LIMIT 1) UNION ALL `

const (
	raiseFloorSQL = `UPDATE {prefix}_store SET floor = ?
	WHERE floor < ? AND ` + writableSQL + ` AND EXISTS (SELECT 1 FROM {prefix}_log WHERE position = ? AND id = ?)`
	// A consistent read finds the entry, so an uncommitted entry does not count. Incrementing the counter makes the
	// statement a change, which the server must make durable.
	confirmSQL = `UPDATE {prefix}_store SET settled = settled + 1
	WHERE ` + writableSQL + ` AND EXISTS (SELECT 1 FROM {prefix}_log WHERE position = ? AND id = ?)`
	newestRow  = `SELECT newest.position, newest.id FROM ` + newestSQL
	timeSQL    = `SELECT time FROM {prefix}_log WHERE position = ?`
	entryAtSQL = `SELECT (SELECT id FROM {prefix}_log WHERE position = ?), ` + writableSQL
	canWrite   = `SELECT ` + writableSQL
)

// statements holds the SQL statements with the table prefix filled in.
type statements struct {
	insert, firstRow, timedRow, plainRow     string
	end, read, scan, newest, entryAt, timeAt string
	raiseFloor, confirm                      string
	values, remove                           []list
	register, registered, unregister         string
}

// list is a statement with a list of parameters.
type list struct {
	rows int
	sql  string
}

// listSizes are the sizes of the prepared lists. Shorter lists are padded.
var listSizes = []int{1, 8, 64, 512, 4096}

func newStatements(cfg *config) statements {
	s := statements{
		insert: cfg.sql(insertSQL), firstRow: cfg.sql(firstRowSQL), timedRow: timedRowSQL, plainRow: plainRowSQL,
		end: cfg.sql(endSQL), read: cfg.sql(readSQL), scan: cfg.sql(scanSQL),
		newest: cfg.sql(newestRow), entryAt: cfg.sql(entryAtSQL), timeAt: cfg.sql(timeSQL),
		raiseFloor: cfg.sql(raiseFloorSQL), confirm: cfg.sql(confirmSQL),
		register: cfg.sql(registerSQL), registered: cfg.sql(registeredSQL), unregister: cfg.sql(unregisterSQL),
	}
	for _, n := range listSizes {
		in := `(?` + strings.Repeat(`, ?`, n-1) + `)`
		s.values = append(s.values, list{n, cfg.sql(endRowValuesSQL + `(SELECT position, id, 0, 1, 0, 0, value, checksum
	FROM {prefix}_log WHERE position IN ` + in + ` AND position > 0)`)})
		if n <= deleteRows {
			s.remove = append(s.remove, list{n, cfg.sql(`DELETE FROM {prefix}_log
	WHERE position IN ` + in + ` AND position > 0 AND position < ? AND ` + writableSQL + `
	AND EXISTS (SELECT 1 FROM (SELECT id FROM {prefix}_log WHERE position = ? AND id = ? LIMIT 1) guard)`)})
		}
	}
	return s
}

// pick returns the smallest list that holds n positions, or else the largest list.
func pick(lists []list, n int) list {
	for _, l := range lists {
		if l.rows >= n {
			return l
		}
	}
	return lists[len(lists)-1]
}

// inserts builds an INSERT of rows rows from the SQL of the first row and of the others.
func (s *statements) inserts(rows int, first, others string) string {
	var b strings.Builder
	b.Grow(len(s.insert) + len(first) + rows*(len(others)+2))
	b.WriteString(s.insert)
	b.WriteString(first)
	for range rows - 1 {
		b.WriteString(", ")
		b.WriteString(others)
	}
	return b.String()
}

const (
	registerSQL = `INSERT INTO {prefix}_replica (id, name, urls, version, since, seen)
	VALUES (IF(` + writableSQL + `, ?, NULL), ?, ?, ?, ` + nowSQL + `, ` + nowSQL + `)
	ON DUPLICATE KEY UPDATE name = VALUES(name), urls = VALUES(urls), version = VALUES(version), seen = VALUES(seen)`
	registeredSQL = `SELECT id, name, urls, version, since, seen FROM {prefix}_replica`
	unregisterSQL = `DELETE FROM {prefix}_replica WHERE id = ? AND (? = 0 OR seen = ?) AND ` + writableSQL
)

const (
	// deleteRows bounds the rows deleted by one transaction, which takes a few milliseconds.
	deleteRows = 512
	// deletePause is the pause after each transaction, in which appends have the disk to themselves.
	deletePause = 2 * time.Millisecond
)
