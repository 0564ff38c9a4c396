package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// TestServerDefaults runs on a server whose defaults would break the driver.
func TestServerDefaults(t *testing.T) {
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	// Some variables have different names on MySQL, MariaDB and TiDB, and some do not exist on all of them.
	bad := map[string]string{
		"sql_mode": "''", "tx_isolation": "'SERIALIZABLE'", "transaction_isolation": "'SERIALIZABLE'",
		"innodb_snapshot_isolation": "ON", "autocommit": "0", "time_zone": "'+05:30'", "max_statement_time": "0.05",
		"max_execution_time": "50", "lock_wait_timeout": "1", "innodb_lock_wait_timeout": "1", "wait_timeout": "2",
		"net_read_timeout": "1", "net_write_timeout": "1", "idle_transaction_timeout": "1",
		"idle_write_transaction_timeout": "1", "idle_readonly_transaction_timeout": "1", "sql_select_limit": "1",
		"max_join_size": "1", "sql_big_selects": "0", "completion_type": "'CHAIN'",
		"optimizer_switch":                  "'derived_merge=on,mrr=on,materialization=off,semijoin=off'",
		"in_predicate_conversion_threshold": "2", "sql_auto_is_null": "1", "range_optimizer_max_mem_size": "1000",
		"div_precision_increment": "0", "foreign_key_checks": "0", "sql_buffer_result": "1", "sql_notes": "0",
		"max_error_count": "0", "low_priority_updates": "1", "big_tables": "1", "eq_range_index_dive_limit": "1",
		"tidb_low_resolution_tso": "1", "tx_read_only": "1", "transaction_read_only": "1", "sql_safe_updates": "1",
		"character_set_server": "'latin1'", "unique_checks": "0", "sql_generate_invisible_primary_key": "1",
		"sql_require_primary_key": "1",
	}
	if kind() == database.TiDB { // which has neither, and says so
		bad["tx_isolation"], bad["transaction_isolation"] = "'REPEATABLE-READ'", "'REPEATABLE-READ'"
		delete(bad, "tx_read_only")
		delete(bad, "optimizer_switch")
		delete(bad, "transaction_read_only")
	}
	has := variablesOf(t, s, slices.Collect(maps.Keys(bad)))
	if len(has) < 9 {
		t.Errorf("the server has only %v", has)
	}
	for name := range has {
		admin(t, s, "SET GLOBAL "+name+" = "+bad[name])
		t.Cleanup(func() { admin(t, s, "SET GLOBAL "+name+" = DEFAULT") })
	}
	var logs []*Log
	for range 2 {
		l := openLog(t, dsn)
		t.Cleanup(func() { _ = l.Close() })
		logs = append(logs, l)
	}
	ctx := context.Background()
	end, err := logs[0].End(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(end.Now.Time()); d.Abs() > time.Minute {
		t.Errorf("the clock is %v off", d)
	}
	head := end.Head
	for i := range 20 {
		entries := drivertest.BenchEntries(3)
		entries[1].Key = []byte{0xff, 0xc3, 0x28, 0}
		wrong := log.Head{Position: head.Position, ID: head.ID + 1}
		if err := logs[i%2].Append(ctx, wrong, 1, drivertest.BenchEntries(1)); !errors.Is(err, log.ErrConflict) {
			t.Fatalf("Append after %v: %v", wrong, err)
		}
		head = mustAppend(t, logs[i%2], head, entries)
		got, end, err := logs[1-i%2].Read(ctx, head.Position-3, 10)
		if err != nil || len(got) != 3 || end.Head != head || string(got[1].Key) != string(entries[1].Key) ||
			got[2].Time != entries[0].Time {
			t.Fatalf("Read: %v, %v, %v", got, end, err)
		}
	}
	if err := logs[0].Confirm(ctx, head); err != nil {
		t.Error(err)
	}
	if err := logs[1].Delete(ctx, head, []log.Position{1, 2}, 2); err != nil {
		t.Error(err)
	}
	// A scan that takes longer than the server's limits and has more rows than sql_select_limit, and the statements
	// after a transaction.
	const many = 4 * maxRows
	head = mustAppend(t, logs[0], head, drivertest.BenchEntries(many))
	seen := 0
	if _, err := logs[1].Scan(ctx, 0, func(batch []log.Entry) error {
		if seen == 0 {
			admin(t, s, "DO SLEEP(0.3)")
		}
		seen += len(batch)
		return nil
	}); err != nil || seen != many+3*20-2 {
		t.Errorf("Scan: %d entries, %v; want %d", seen, err, many+3*20-2)
	}
	all := make([]log.Position, 3000)
	for i := range all {
		all[i] = head.Position - log.Position(i)
	}
	if v, err := logs[1].Values(ctx, all); err != nil || slices.Contains(v.Found, false) {
		t.Errorf("Values: %v", err)
	}
	if err := logs[1].Confirm(ctx, head); err != nil {
		t.Error(err)
	}
	head = mustAppend(t, logs[0], head, drivertest.BenchEntries(1))
	for i, l := range append(logs, openLog(t, dsn)) {
		if end, err := l.End(ctx); err != nil || end.Head != head {
			t.Errorf("log %d: %v, %v; want %v", i, end, err, head)
		}
		if i == len(logs) {
			_ = l.Close()
		}
	}
}

// TestReadOnlyServer makes the server read-only, and writable again, while logs are open: one of a user whom the server
// then stops, and one of a user whom it does not stop.
func TestReadOnlyServer(t *testing.T) {
	if kind() == database.TiDB {
		t.Skip("TiDB has no server that is behind the others and read-only: each answers from what all have committed")
	}
	s := database.Shared(t, kind())
	for user, rights := range map[string]string{"plain": "`%s%%`.*", "privileged": "*.*"} {
		t.Run(user, func(t *testing.T) {
			name := s.Database(t)
			if rights != "*.*" {
				rights = fmt.Sprintf(rights, name)
			}
			admin(t, s, "CREATE USER "+user+"@'127.0.0.1' IDENTIFIED BY 'secret'", "GRANT ALL ON "+rights+" TO "+user+
				"@'127.0.0.1'")
			t.Cleanup(func() { admin(t, s, "DROP USER "+user+"@'127.0.0.1'") })
			refusesToWrite(t, s, name, "mysql://"+user+":secret@tcp("+s.Address(1)+")/")
		})
	}
}

// refusesToWrite checks every call that writes, before and after the server has become read-only.
func refusesToWrite(t *testing.T, s *database.Server, name, dsn string) {
	l := openLog(t, dsn+name)
	defer func() { _ = l.Close() }()
	ctx := context.Background()
	head := mustAppend(t, l, log.Head{}, drivertest.BenchEntries(2))
	head = mustAppend(t, l, head, drivertest.BenchEntries(maxRows+1))
	self := log.Replica{ID: 7, Name: "seven"}
	writes := map[string]func(head log.Head) error{
		"Append":        func(head log.Head) error { return l.Append(ctx, head, 5, drivertest.BenchEntries(1)) },
		"Append of two": func(head log.Head) error { return l.Append(ctx, head, 5, drivertest.BenchEntries(2)) },
		"Append in steps": func(head log.Head) error {
			return l.Append(ctx, head, 5, drivertest.BenchEntries(maxRows+1))
		},
		"Confirm": func(head log.Head) error { return l.Confirm(ctx, head) },
		"Delete": func(head log.Head) error {
			return l.Delete(ctx, head, []log.Position{1, 2}, 2)
		},
		"Register": func(log.Head) error {
			_, err := l.Register(ctx, self)
			return err
		},
		"Defragment": func(log.Head) error { return l.Defragment(ctx) },
		"End": func(log.Head) error {
			_, err := l.End(ctx)
			return err
		},
		"Open with another prefix": func(log.Head) error { return openAndClose(dsn + name + "?table_prefix=other") },
		"Open of another database": func(log.Head) error { return openAndClose(dsn + name + "_other") },
	}
	// Call once with a wrong guard, so that every statement is prepared before the server changes.
	for what, write := range writes {
		if !strings.HasPrefix(what, "Open") && what != "Delete" {
			if err := write(log.Head{Position: head.Position - 1, ID: 1}); err != nil &&
				!errors.Is(err, log.ErrConflict) {
				t.Errorf("%s: %v, want a conflict", what, err)
			}
		}
	}
	admin(t, s, "SET GLOBAL read_only = 1")
	t.Cleanup(func() { admin(t, s, "SET GLOBAL read_only = 0", "DROP DATABASE IF EXISTS "+name+"_other") })
	for what, write := range writes {
		for range 2 { // the second on a new connection
			if err := write(head); !errors.Is(err, log.ErrReadOnly) || errors.Is(err, log.ErrUnknown) {
				t.Errorf("%s: %v, want read-only", what, err)
			}
		}
	}
	if err := l.Unregister(ctx, self.ID, 0); err != nil && !errors.Is(err, log.ErrReadOnly) {
		t.Errorf("Unregister: %v", err)
	}
	entries := 0
	if _, err := l.Scan(ctx, 0, func(batch []log.Entry) error { entries += len(batch); return nil }); err != nil ||
		entries != 2+maxRows+1 {
		t.Errorf("Scan: %d entries, %v", entries, err)
	}
	admin(t, s, "SET GLOBAL read_only = 0")
	end, err := l.End(ctx)
	if err != nil || end.Head != head || end.Floor != 0 {
		t.Errorf("End: %v, %v; want %v and floor 0: nothing was to be written", end, err, head)
	}
	replicas, err := l.Register(ctx, log.Replica{ID: 8})
	if err != nil || len(replicas) != 2 {
		t.Errorf("Register: %v, %v; want the replica that could not be removed, too", replicas, err)
	}
	mustAppend(t, l, head, drivertest.BenchEntries(1))
}

func openAndClose(dsn string) error {
	l, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()})
	if err == nil {
		err = l.Close()
	}
	return err
}

// TestSentinel checks that the sentinel is never returned or deleted, and that its loss is reported.
func TestSentinel(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t)
	l := openLog(t, s.In(s.Env(t, "DSN"), name))
	defer func() { _ = l.Close() }()
	ctx := context.Background()
	head := mustAppend(t, l, log.Head{}, drivertest.BenchEntries(2))
	if entries, _, err := l.Read(ctx, -5, 10); err != nil || len(entries) != 2 || entries[0].Position != 1 {
		t.Errorf("Read: %v, %v", entries, err)
	}
	if _, err := l.Scan(ctx, -5, func(batch []log.Entry) error {
		if len(batch) != 2 {
			return fmt.Errorf("%d entries", len(batch))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if v, err := l.Values(ctx, []log.Position{0}); err != nil || v.Found[0] {
		t.Errorf("Values: %v, %v", v, err)
	}
	if err := l.Delete(ctx, head, []log.Position{-1, 0, 1, 2, 3}, 0); err != nil {
		t.Fatal(err)
	}
	err := l.Append(ctx, log.Head{Position: 2, ID: head.ID + 1}, 3, drivertest.BenchEntries(1))
	if !errors.Is(err, log.ErrConflict) {
		t.Errorf("Append: %v", err)
	}
	admin(t, s, "DELETE FROM "+name+".stele_store")
	if _, err := l.End(ctx); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("End: %v", err)
	}
	if _, _, err := l.Read(ctx, 0, 1); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Read: %v", err)
	}
}
