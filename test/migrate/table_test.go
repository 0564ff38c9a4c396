package migrate

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

// tableRows returns the size of a table that is filled by SQL.
func tableRows(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("STELE_TEST_MIGRATE_ROWS")
	if text == "" {
		return 20_000
	}
	rows, err := strconv.ParseInt(text, 10, 64)
	if err != nil || rows < 1000 {
		t.Fatalf("STELE_TEST_MIGRATE_ROWS=%s: it is a number from 1000 on", text)
	}
	return rows
}

// filled creates kine's table, by kine, and fills it up to rows IDs: each key is created and then updated nine times,
// with values of 512 bytes. The first third is compacted, although superseded rows remain there too.
func filled(t *testing.T, kind string, rows int64) string {
	t.Helper()
	dsn := place(t, kind)
	_, stop := kine(t, dsn)
	stop()
	db := sqlOf(t, dsn)
	const columns = "(id, name, created, deleted, create_revision, prev_revision, lease, value)"
	first := number(t, db, `SELECT MAX(id) + 1 FROM kine`)
	keys := (rows - first + 1) / 10
	// These columns are the same in all three statements: i is the ID.
	from := fmt.Sprintf("i, KEY, CASE WHEN i < %[1]d + %[2]d THEN 1 ELSE 0 END, 0, CASE WHEN i < %[1]d + %[2]d THEN "+
		"NULL ELSE %[1]d + (i - %[1]d) %% %[2]d END, "+
		"CASE WHEN i < %[1]d + %[2]d THEN 0 ELSE i - %[2]d END, 0, VALUE", first, keys)
	name := fmt.Sprintf("(i - %d) %% %d", first, keys)
	var statement string
	switch kind {
	case database.Postgres:
		from = strings.NewReplacer("KEY", "'/registry/pods/default/pod-' || "+name, "VALUE",
			"convert_to(repeat(md5(i::text), 16), 'UTF8')").Replace(from)
		statement = fmt.Sprintf("INSERT INTO kine %s SELECT %s FROM generate_series(%d::bigint, %d::bigint) AS i",
			columns, from, first, rows)
	case database.MariaDB:
		from = strings.NewReplacer("KEY", "CONCAT('/registry/pods/default/pod-', "+name+")", "VALUE",
			"REPEAT(MD5(i), 16)").Replace(from)
		statement = fmt.Sprintf("INSERT INTO kine %s SELECT %s FROM (SELECT CAST(seq AS SIGNED) AS i FROM "+
			"seq_%d_to_%d) AS numbers", columns, from, first, rows)
	default:
		from = strings.NewReplacer("KEY", "'/registry/pods/default/pod-' || ("+name+")", "VALUE",
			"randomblob(512)").Replace(from)
		statement = fmt.Sprintf("WITH RECURSIVE n(i) AS (VALUES(%d) UNION ALL SELECT i + 1 FROM n WHERE i < %d) "+
			"INSERT INTO kine %s SELECT %s FROM n", first, rows, columns, from)
	}
	for _, s := range []string{
		statement, fmt.Sprintf("UPDATE kine SET prev_revision = %d WHERE name = 'compact_rev_key'", rows/3),
	} {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// TestTime imports a large table and logs the time.
func TestTime(t *testing.T) {
	rows := tableRows(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			dsn := filled(t, kind, rows)
			out, err := run(t, "import", "--from=kine", "--endpoint", dsn)
			if err != nil || !strings.Contains(out, fmt.Sprintf("%d writes, ", rows-1)) ||
				!strings.Contains(out, fmt.Sprintf("revision %d, compact revision %d", rows, rows/3)) {
				t.Fatalf("import of %d rows: %v\n%s", rows, err, out)
			}
			t.Log(out)
			if out, err := run(t, "check", "--endpoint", dsn); err != nil {
				t.Errorf("check: %v\n%s", err, out)
			}
		})
	}
}
