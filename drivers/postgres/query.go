package postgres

import (
	"context"
	"encoding/binary"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stele-db/stele/drivers/internal/migrations"
)

// query is a statement with the types of its parameters. It is prepared once on each connection, or sent in full each
// time if a pooler may give every transaction another connection.
type query struct {
	name, sql string
	oids      []uint32
}

// queries holds the statements with the table prefix filled in.
type queries struct {
	append, confirm      query
	end, endDurable      query
	read, values         query
	scanEnd, scan        query
	raiseFloor, deleteAt query
	size                 query
	register, unregister query
}

// nowSQL is the database's clock in milliseconds. Reads use the time at which the statement started, which is never
// ahead of the clock.
const nowSQL = `(extract(epoch FROM statement_timestamp()) * 1000)::bigint`

// durableSQL makes the commit of its statement wait for the disk and for the server's synchronous standbys. It
// overrides the settings of the session, the role and other clients of a pooled connection. It also makes the server
// send a warning if it stops that wait. Both settings last until the transaction has ended, including its commit.
const durableSQL = `CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')
		THEN set_config('synchronous_commit', 'on', true) END,
	CASE WHEN current_setting('client_min_messages') IN ('error', 'fatal', 'panic')
		THEN set_config('client_min_messages', 'warning', true) END`

// headSQL selects the row of the head, found at the right edge of the index on position.
const headSQL = `(SELECT * FROM {prefix}_head ORDER BY position DESC LIMIT 1)`

// headRowSQL restricts an UPDATE to the row of the head by a range of the index. A concurrent append only increases the
// position, so the row stays in the range.
const headRowSQL = `position >= (SELECT position FROM {prefix}_head ORDER BY position DESC LIMIT 1)`

// standsSQL returns a row if the head ($1, $2) is an entry of the log or the zero head.
const standsSQL = `SELECT 1 WHERE $1 = 0 AND $2 = 0
		OR EXISTS (SELECT FROM {prefix}_log WHERE position = $1 AND id = $2)`

func newQueries(prefix string, notify bool) *queries {
	notifySQL, registeredSQL := `$13::boolean`, `NULL` // the statement must use the parameter somewhere
	if notify {
		notifySQL = `CASE WHEN $13 THEN pg_notify('` + channel(prefix) + `', '') END`
		registeredSQL = `pg_notify('` + channel(prefix) + `', $1::text)`
	}
	q := &queries{
		// The append is one autocommit statement, which needs one round trip and never leaves a lock held by a stopped
		// client. The UPDATE checks the precondition: it waits for a concurrent append and then compares the head row.
		// unnest in the select list streams the arrays; in FROM it would store all of them again. The statement returns
		// no row if the precondition failed.
		append: query{"stele_append", `
WITH head AS (
	UPDATE {prefix}_head SET position = $1 + $3, id = $4 WHERE position = $1 AND id = $2
	RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS time, ` + notifySQL + `, ` + durableSQL + `
), log AS (
	INSERT INTO {prefix}_log
		(position, id, time, kind, revision, sub, key, create_revision, version, lease, value, checksum)
	SELECT generate_series($1 + 1, $1 + $3), $4, head.time,
		unnest($5::smallint[]), unnest($6::bigint[]), unnest($7::bigint[]), unnest($8::bytea[]),
		unnest($9::bigint[]), unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::bytea[]),
		unnest($14::bigint[]) # ((head.time # (head.time >> 32)) << 32)
	FROM head
)
SELECT time FROM head`, []uint32{
			pgtype.Int8OID, pgtype.Int8OID, pgtype.Int8OID, pgtype.Int8OID,
			pgtype.Int2ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.ByteaArrayOID,
			pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.ByteaArrayOID,
			pgtype.BoolOID, pgtype.Int8ArrayOID,
		}},
		// The new version of the head row becomes durable only after everything that this transaction sees.
		confirm: query{"stele_confirm", `
UPDATE {prefix}_head SET floor = floor
WHERE ` + headRowSQL + ` AND EXISTS (SELECT FROM {prefix}_log WHERE position = $1 AND id = $2)
RETURNING 1, ` + durableSQL, []uint32{pgtype.Int8OID, pgtype.Int8OID}},
		end: query{"stele_end", `
SELECT position, id, floor, cluster_id, ` + nowSQL + `,
	current_setting('transaction_read_only') = 'on',
	coalesce(current_setting('synchronous_standby_names', true), '') <> ''
FROM ` + headSQL + ` AS h`, nil},
		// A primary that was replaced without noticing it can still be read. It can no longer commit if its commits
		// wait for the standby that replaced it. The logical message makes this transaction a writing one, whose commit
		// waits.
		endDurable: query{"stele_end_durable", `
SELECT position, id, floor, cluster_id, ` + nowSQL + `,
	current_setting('transaction_read_only') = 'on',
	coalesce(current_setting('synchronous_standby_names', true), '') <> '',
	pg_logical_emit_message(true, 'stele', ''),
	` + durableSQL + `
FROM ` + headSQL + ` AS h`, nil},
		// The rows arrive in order although SQL does not guarantee it. Read checks the order, because an ORDER BY here
		// would sort them again.
		read: query{"stele_read", `
SELECT h.position, h.id, h.floor, h.cluster_id, ` + nowSQL + `,
	l.position, l.id, l.time, l.kind, l.revision, l.sub, l.key, l.create_revision, l.version, l.lease, l.checksum,
	l.value
FROM ` + headSQL + ` AS h LEFT JOIN (
	SELECT * FROM {prefix}_log WHERE position > $1 ORDER BY position LIMIT $2
) AS l ON true`, []uint32{pgtype.Int8OID, pgtype.Int8OID}},
		scanEnd: query{"stele_scan_end", `
SELECT position, id, floor, cluster_id, ` + nowSQL + ` FROM ` + headSQL + ` AS h`, nil},
		scan: query{"stele_scan", `
SELECT position, id, time, kind, revision, sub, key, create_revision, version, lease, checksum,
	CASE WHEN kind <> 1 THEN value END, octet_length(value)
FROM {prefix}_log WHERE position > $1 ORDER BY position`, []uint32{pgtype.Int8OID}},
		values: query{"stele_values", `
SELECT h.position, h.id, h.floor, h.cluster_id, ` + nowSQL + `, v.n, v.id, v.value, v.checksum
FROM ` + headSQL + ` AS h LEFT JOIN (
	SELECT p.n, l.id, l.value, l.checksum FROM unnest($1::bigint[]) WITH ORDINALITY AS p (position, n)
	JOIN {prefix}_log l ON l.position = p.position
) AS v ON true`, []uint32{pgtype.Int8ArrayOID}},
		// Both return a row if the log contains the entry guard.
		raiseFloor: query{"stele_floor", `
WITH guard AS (` + standsSQL + `), raised AS (
	UPDATE {prefix}_head SET floor = $3 FROM guard WHERE ` + headRowSQL + ` AND floor < $3
)
SELECT 1 FROM guard`, []uint32{pgtype.Int8OID, pgtype.Int8OID, pgtype.Int8OID}},
		deleteAt: query{"stele_delete", `
WITH guard AS (` + standsSQL + `), gone AS (
	DELETE FROM {prefix}_log USING guard
	WHERE position = ANY($3::bigint[]) AND position < (SELECT position FROM ` + headSQL + ` AS h)
)
SELECT 1 FROM guard`, []uint32{pgtype.Int8OID, pgtype.Int8OID, pgtype.Int8ArrayOID}},
		// The server does not count free pages. The dead rows (deleted but not yet vacuumed) are the known part of
		// them.
		size: query{"stele_size", `
SELECT pg_total_relation_size('{prefix}_log') + pg_total_relation_size('{prefix}_head'),
	coalesce((SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = '{prefix}_log'::regclass), 0),
	coalesce((SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = '{prefix}_log'::regclass), 0)`, nil},
		register: query{"stele_register", `
WITH clock AS (
	SELECT ` + nowSQL + ` AS now
), self AS (
	INSERT INTO {prefix}_replica (id, name, client_urls, version, since, seen)
	SELECT $1, $2, $3, $4, now, now FROM clock
	ON CONFLICT (id) DO UPDATE SET name = $2, client_urls = $3, version = $4, seen = excluded.seen
	RETURNING id, name, client_urls, version, since, seen, ` + registeredSQL + `
)
SELECT id, name, client_urls, version, since, seen FROM self
UNION ALL
SELECT r.id, name, client_urls, version, since, seen FROM {prefix}_replica r WHERE r.id <> $1`,
			[]uint32{pgtype.Int8OID, pgtype.ByteaOID, pgtype.ByteaOID, pgtype.ByteaOID}},
		unregister: query{"stele_unregister", `DELETE FROM {prefix}_replica WHERE id = $1 AND ($2 = 0 OR seen = $2)`,
			[]uint32{pgtype.Int8OID, pgtype.Int8OID}},
	}
	for _, each := range []*query{
		&q.append, &q.confirm, &q.end, &q.endDurable, &q.read, &q.values, &q.scanEnd, &q.scan,
		&q.raiseFloor, &q.deleteAt, &q.size, &q.register, &q.unregister,
	} {
		each.sql = migrations.WithPrefix(each.sql, prefix)
	}
	return q
}

// All parameters and results are binary.
var (
	binaryParams  = []int16{1}
	binaryResults = []int16{1}
)

// preparedKey is the key under which a connection stores its prepared statements.
const preparedKey = "stele.prepared"

// prepare prepares q on c, unless it is prepared already.
func prepare(ctx context.Context, c *pgconn.PgConn, q *query) error {
	prepared := preparedOn(c)
	if prepared[q.name] != nil {
		return nil
	}
	description, err := c.Prepare(ctx, q.name, q.sql, q.oids)
	if err == nil {
		prepared[q.name] = description
	}
	return err
}

func preparedOn(c *pgconn.PgConn) map[string]*pgconn.StatementDescription {
	data := c.CustomData()
	prepared, _ := data[preparedKey].(map[string]*pgconn.StatementDescription)
	if prepared == nil {
		prepared = map[string]*pgconn.StatementDescription{}
		data[preparedKey] = prepared
	}
	return prepared
}

// int64Of reads a bigint.
func int64Of(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

// int8Params encodes bigint parameters in one allocation.
func int8Params(values ...int64) [][]byte {
	buf := make([]byte, 8*len(values))
	params := make([][]byte, len(values))
	for i, v := range values {
		params[i] = buf[8*i : 8*i+8 : 8*i+8]
		binary.BigEndian.PutUint64(params[i], uint64(v))
	}
	return params
}

// arrayHeader is the length of the header of a one-dimensional binary array.
const arrayHeader = 20

// putArrayHeader writes the header of an array of n elements that has no NULLs and starts at index 1.
func putArrayHeader(b []byte, element uint32, n int) {
	binary.BigEndian.PutUint32(b, 1)
	binary.BigEndian.PutUint32(b[4:], 0)
	binary.BigEndian.PutUint32(b[8:], element)
	binary.BigEndian.PutUint32(b[12:], uint32(n))
	binary.BigEndian.PutUint32(b[16:], 1)
}

// int8Element is the length of an element of a bigint array.
const int8Element = 12

func putInt8Element(b []byte, v int64) {
	binary.BigEndian.PutUint32(b, 8)
	binary.BigEndian.PutUint64(b[4:], uint64(v))
}

// int8Array encodes a bigint array parameter.
func int8Array[T ~int64](values []T) []byte {
	b := make([]byte, arrayHeader+int8Element*len(values))
	putArrayHeader(b, pgtype.Int8OID, len(values))
	for i, v := range values {
		putInt8Element(b[arrayHeader+int8Element*i:], int64(v))
	}
	return b
}

// channel is the channel that appends notify. Its name needs no quotes.
func channel(prefix string) string { return prefix + "_log" }
