package postgres

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

// holdSnapshot keeps a snapshot open until t ends, as a dump or a forgotten transaction does.
func holdSnapshot(t testing.TB, s *database.Server, dsn string) {
	t.Helper()
	ctx := within(t, 10*time.Minute)
	c, err := pgx.Connect(ctx, s.In(s.Env(t, "ADMIN_DSN_1"), databaseOf(t, dsn)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(ctx) })
	for _, sql := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM pg_class"} {
		if _, err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
}

// appendTimes makes n appends of one row each.
func appendTimes(t testing.TB, l *Log, head log.Head, n int) log.Head {
	t.Helper()
	ctx := within(t, 10*time.Minute)
	for range n {
		next := log.Head{Position: head.Position + 1, ID: head.ID + 1}
		if err := l.Append(ctx, head, next.ID, onePut("v")); err != nil {
			t.Fatal(err)
		}
		head = next
	}
	return head
}

var sharedHits = regexp.MustCompile(`Buffers: shared (?:hit=(\d+))?(?: ?read=(\d+))?`)

// buffersOf returns how many buffers each statement that uses the end of the log touches. It rolls back all effects.
func buffersOf(t *testing.T, l *Log, head log.Head) map[string]int {
	t.Helper()
	ctx := within(t, 10*time.Second)
	w, unlock, err := l.lockWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	touched := map[string]int{}
	at := fmt.Sprintf("%d, %d", head.Position, head.ID)
	for _, each := range []struct {
		q    *query
		args string
	}{
		{&l.sql.append, "(" + at +
			`, 1, 999, '{1}', '{2}', '{0}', '{"a"}', '{2}', '{1}', '{0}', '{"b"}', false, '{0}')`},
		{&l.sql.confirm, "(" + at + ")"},
		{&l.sql.end, ""},
		{&l.sql.endDurable, ""},
		{&l.sql.scanEnd, ""},
		{&l.sql.read, fmt.Sprintf("(%d, 10)", head.Position-1)},
		{&l.sql.values, fmt.Sprintf("('{%d}')", head.Position)},
		{&l.sql.raiseFloor, "(" + at + ", 1)"},
		{&l.sql.deleteAt, "(" + at + ", '{1}')"},
	} {
		if err := prepare(ctx, w.pg, each.q); err != nil {
			t.Fatal(err)
		}
		results, err := w.pg.Exec(ctx, "BEGIN; EXPLAIN (ANALYZE, BUFFERS) EXECUTE "+each.q.name+each.args+
			"; ROLLBACK").ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", each.q.name, err)
		}
		for _, row := range results[1].Rows {
			if found := sharedHits.FindSubmatch(row[0]); found != nil { // the first line is that of the whole statement
				hit, _ := strconv.Atoi(string(found[1]))
				read, _ := strconv.Atoi(string(found[2]))
				touched[each.q.name] = hit + read
				break
			}
		}
		if touched[each.q.name] == 0 {
			t.Errorf("%s touches nothing", each.q.name)
		}
	}
	return touched
}

// TestOldSnapshot appends while an open snapshot keeps all dead versions of the head row. No statement may have to read
// them.
func TestOldSnapshot(t *testing.T) {
	t.Parallel()
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	l := mustOpen(t, dsn)
	holdSnapshot(t, s, dsn)
	head := appendTimes(t, l, log.Head{}, 100)
	before := buffersOf(t, l, head)
	head = appendTimes(t, l, head, 2000)
	after := buffersOf(t, l, head)
	for name := range before {
		// The dead versions of 2,000 appends are in some 15 pages of the table alone. An index may have grown by a
		// level.
		if after[name] > before[name]+6 {
			t.Errorf("%s touches %d buffers after 2,100 appends, and %d after 100", name, after[name], before[name])
		}
	}
	t.Logf("buffers after 100 appends %v, after 2,100 %v", before, after)
}

// TestAppendsDuringOldSnapshot makes STELE_TEST_SNAPSHOT_APPENDS appends while a snapshot is open, and logs their cost.
// It measures the server and not the disk, so the server does not sync.
func TestAppendsDuringOldSnapshot(t *testing.T) {
	appends, _ := strconv.Atoi(os.Getenv("STELE_TEST_SNAPSHOT_APPENDS"))
	if appends == 0 {
		t.Skip("set STELE_TEST_SNAPSHOT_APPENDS=500000 to measure")
	}
	s := database.Start(t, kind())
	execute(t, s, "", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
	dsn := s.DSN(t)
	l := mustOpen(t, dsn)
	holdSnapshot(t, s, dsn)
	var head log.Head
	for range 10 {
		before, start := s.Usage(t), time.Now()
		head = appendTimes(t, l, head, appends/10)
		took, used := time.Since(start), s.Usage(t)
		start = time.Now()
		for range 200 {
			mustEnd(t, l)
		}
		ends := time.Since(start)
		for name := range used {
			used[name] = (used[name] - before[name]) / float64(appends/10)
		}
		size, err := l.Size(within(t, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d appends: append %v, End %v, tables %d MiB, per append %v", head.Position,
			took/time.Duration(appends/10), ends/200, size.Total>>20, used)
	}
}
