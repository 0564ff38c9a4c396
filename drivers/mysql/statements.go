package mysql

import (
	"strings"
	"time"
)

// nowSQL is the server's clock in milliseconds since 1970. UTC_TIMESTAMP depends on no time zone, and stays the same
// within a statement.
const nowSQL = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000`

// newestSQL is the newest row: one step to the right edge of the clustered index. LIMIT keeps it a table of its own,
// which is also what allows an INSERT to read the table that it writes (error 1093).
const newestSQL = `(SELECT position, id FROM {prefix}_log ORDER BY position DESC LIMIT 1) newest`

// writableSQL reports whether the server's read_only is off. Every statement that writes carries it, because the server
// itself does not stop a user who has the privilege SUPER, READ ONLY ADMIN or CONNECTION_ADMIN. super_read_only (MySQL)
// implies read_only, and later versions of MariaDB have names for several ways of being read-only.
const writableSQL = `CAST(@@global.read_only AS CHAR) IN ('0', 'OFF')`

// guardSQL stands for the position of an append's first row. Parameters: position and id of the head, and the position
// of the row. If the log does not end at the head it is that of the sentinel, so that the INSERT always fails, in
// whatever mode the server is. On a read-only server it is NULL, which fails with an error of its own (1048), and in a
// mode that turns NULL into 0 with that of the sentinel.
const guardSQL = `IF(` + writableSQL + `, IF((SELECT newest.position = ? AND newest.id = ? FROM ` + newestSQL + `), ?, 0), NULL)`

// insertSQL begins an append. In the rows that follow, LAST_INSERT_ID(x) is x, and makes the server's answer to the
// INSERT carry it: that tells the time without another question.
const (
	insertSQL     = `INSERT INTO {prefix}_log (position, id, time, kind, revision, sub, ` + "`key`" + `, create_revision, version, lease, value, checksum) VALUES `
	guardedRowSQL = `(` + guardSQL + `, ?, LAST_INSERT_ID(` + nowSQL + `), ?, ?, ?, ?, ?, ?, ?, ?, ` + checksumSQL + `)`
	timedRowSQL   = `(?, ?, ` + nowSQL + `, ?, ?, ?, ?, ?, ?, ?, ?, ` + checksumSQL + `)`
	plainRowSQL   = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ` + checksumSQL + `)`
)

// checksumSQL adds the row's time, which comes before it in the row, to a checksum; see log.Checksum.At.
const checksumSQL = `CAST(? ^ ((time ^ (time >> 32)) << 32) AS SIGNED)`

const (
	guardParameters = 2 // beside the row's own
	rowParameters   = 11
	// maxRows is what the protocol's limit of parameters lets an INSERT carry.
	maxRows = (65535 - guardParameters) / rowParameters
)

// endSQL is the end of the log: the newest row, with the store's row by subqueries, which takes no temporary table (a
// join did: a third more of the server's time for a poll). read_only: a server that takes no writes has not got the
// last word.
const endSQL = `SELECT position, id, (SELECT floor FROM {prefix}_store), (SELECT cluster_id FROM {prefix}_store), ` + nowSQL + `, @@global.read_only
	FROM {prefix}_log ORDER BY position DESC LIMIT 1`

// endRowSQL is the end in the shape of a row of the log. Two SELECTs in one statement read from one snapshot, and UNION
// ALL sends the rows of the one and then those of the other as they come, without a temporary table (which joining the
// end to the rows would take, or another sort).
const endRowSQL = `(SELECT position, id, ` + nowSQL + ` AS time, 0 AS kind, (SELECT floor FROM {prefix}_store), (SELECT cluster_id FROM {prefix}_store), NULL AS k, 0, 0, 0, NULL AS v, 0, 0
	FROM {prefix}_log ORDER BY position DESC LIMIT 1) UNION ALL `

const (
	readSQL = endRowSQL + `(SELECT position, id, time, kind, revision, sub, ` + "`key`" + `, create_revision, version, lease, value, 0, checksum
	FROM {prefix}_log WHERE position > ? ORDER BY position LIMIT ?)`
	// The value of a put stays where it is. A transaction keeps the end and the rows together: as parts of one UNION
	// rows take half as long again.
	scanSQL = `SELECT position, id, time, kind, revision, sub, ` + "`key`" + `, create_revision, version, lease, IF(kind = 1, NULL, value), LENGTH(value), checksum
	FROM {prefix}_log WHERE position > ? ORDER BY position`
)

// endRowValuesSQL is the same for Values.
const endRowValuesSQL = `(SELECT position, id, ` + nowSQL + ` AS time, 0 AS kind, (SELECT floor FROM {prefix}_store), (SELECT cluster_id FROM {prefix}_store), NULL AS v, 0
	FROM {prefix}_log ORDER BY position DESC LIMIT 1) UNION ALL `

const (
	raiseFloorSQL = `UPDATE {prefix}_store SET floor = ? WHERE floor < ? AND ` + writableSQL + ` AND EXISTS (SELECT 1 FROM {prefix}_log WHERE position = ? AND id = ?)`
	// A consistent read looks for the entry: what was never committed does not count. The counter makes it a change,
	// which has to be made durable.
	confirmSQL = `UPDATE {prefix}_store SET settled = settled + 1 WHERE ` + writableSQL + ` AND EXISTS (SELECT 1 FROM {prefix}_log WHERE position = ? AND id = ?)`
	newestRow  = `SELECT newest.position, newest.id FROM ` + newestSQL
	timeSQL    = `SELECT time FROM {prefix}_log WHERE position = ?`
	standsSQL  = `SELECT (SELECT id FROM {prefix}_log WHERE position = ?), ` + writableSQL
	canWrite   = `SELECT ` + writableSQL
)

// statements are those with the table prefix in place.
type statements struct {
	insert, guardedRow, timedRow, plainRow  string
	end, read, scan, newest, stands, timeAt string
	raiseFloor, confirm                     string
	values, remove                          []list
	register, registered, unregister        string
}

// list is a statement with a list of parameters.
type list struct {
	rows int
	sql  string
}

// listSizes are the sizes of lists that are prepared; what is over is filled up with a position that is there already.
var listSizes = []int{1, 8, 64, 512, 4096}

func newStatements(cfg *config) statements {
	s := statements{
		insert: cfg.sql(insertSQL), guardedRow: cfg.sql(guardedRowSQL), timedRow: timedRowSQL, plainRow: plainRowSQL,
		end: cfg.sql(endSQL), read: cfg.sql(readSQL), scan: cfg.sql(scanSQL), newest: cfg.sql(newestRow), stands: cfg.sql(standsSQL), timeAt: cfg.sql(timeSQL),
		raiseFloor: cfg.sql(raiseFloorSQL), confirm: cfg.sql(confirmSQL),
		register: cfg.sql(registerSQL), registered: cfg.sql(registeredSQL), unregister: cfg.sql(unregisterSQL),
	}
	for _, n := range listSizes {
		in := `(?` + strings.Repeat(`, ?`, n-1) + `)`
		s.values = append(s.values, list{n, cfg.sql(endRowValuesSQL + `(SELECT position, id, 0, 1, 0, 0, value, checksum FROM {prefix}_log WHERE position IN ` + in + ` AND position > 0)`)})
		if n <= deleteRows {
			s.remove = append(s.remove, list{n, cfg.sql(`DELETE FROM {prefix}_log WHERE position IN ` + in + ` AND position > 0 AND position < ?
	AND ` + writableSQL + ` AND EXISTS (SELECT 1 FROM (SELECT id FROM {prefix}_log WHERE position = ? AND id = ? LIMIT 1) guard)`)})
		}
	}
	return s
}

// pick returns the smallest list for n positions, or else the largest.
func pick(lists []list, n int) list {
	for _, l := range lists {
		if l.rows >= n {
			return l
		}
	}
	return lists[len(lists)-1]
}

// inserts builds an INSERT: its first row guarded or not, and the time that of the server or a parameter.
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
	registerSQL = `INSERT INTO {prefix}_replica (id, name, urls, version, since, seen) VALUES (IF(` + writableSQL + `, ?, NULL), ?, ?, ?, ` + nowSQL + `, ` + nowSQL + `)
	ON DUPLICATE KEY UPDATE name = VALUES(name), urls = VALUES(urls), version = VALUES(version), seen = VALUES(seen)`
	registeredSQL = `SELECT id, name, urls, version, since, seen FROM {prefix}_replica`
	unregisterSQL = `DELETE FROM {prefix}_replica WHERE id = ? AND (? = 0 OR seen = ?) AND ` + writableSQL
)

const (
	// deleteRows is the most that one transaction deletes: a few milliseconds.
	deleteRows = 512
	// deletePause after each transaction leaves the disk to the appends.
	deletePause = 2 * time.Millisecond
)
