package logstructured_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// checkAll checks a log with its values, and returns the problems that it reports.
func checkAll(t testing.TB, l log.Log) (result *ls.CheckResult, problems []string) {
	t.Helper()
	result, err := ls.Check(testContext(t), l, ls.CheckOptions{Values: true}, func(p ls.Problem) {
		problems = append(problems, p.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	return result, problems
}

// mustCheck fails the test if a check of the log reports a problem.
func mustCheck(t testing.TB, l log.Log) *ls.CheckResult {
	t.Helper()
	report := func(p ls.Problem) { t.Errorf("check: %s", p) }
	result, err := ls.Check(context.Background(), l, ls.CheckOptions{Values: true}, report)
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return result
}

// TestCheckAcceptsRandomHistories checks the log of a store before, during and after the deletion of rows.
func TestCheckAcceptsRandomHistories(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	l := openSQLite(t, path)
	defer l.Close()
	opts := ls.Options{CompactRetention: time.Nanosecond}
	run := newSequence(t, startStore(t, openSQLite(t, path), opts))
	for range 30 {
		for range 20 {
			run.step(t)
		}
		result := mustCheck(t, l)
		if int64(result.Revision) != run.oracle.rev() || result.Problems != 0 {
			t.Fatalf("at revision %d: %+v", run.oracle.rev(), result)
		}
	}
	res, err := run.store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything, CountOnly: true})
	if err != nil || mustCheck(t, l).Keys != int(res.Count) {
		t.Errorf("%d keys: %+v, %v", res.Count, mustCheck(t, l), err)
	}
}

// TestCheckAcceptsConvertedLeases converts leases to the other mode and back.
func TestCheckAcceptsConvertedLeases(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	store := startStore(t, db.Open(), ls.Options{})
	putLeased(t, store, 100, "a", "b")
	if _, err := store.ConvertLeases(testContext(t), ls.LeaseModeEtcd); err != nil {
		t.Fatal(err)
	}
	store.stop(t)
	store = startStore(t, db.Open(), modeEtcd)
	id := mustGrant(t, store, 0, 100)
	putLeased(t, store, id, "c", "b")
	mustGrant(t, store, 5, 100)
	if _, err := store.LeaseKeepAlive(testContext(t), ls.Unguarded, 5); err != nil {
		t.Fatal(err)
	}
	if result := mustCheck(t, db.Open()); result.Leases != 3 || result.Keys != 3 {
		t.Errorf("%+v", result)
	}
	if _, err := store.LeaseRevoke(testContext(t), ls.Unguarded, id); err != nil {
		t.Fatal(err)
	}
	if result := mustCheck(t, db.Open()); result.Leases != 2 || result.Keys != 1 {
		t.Errorf("%+v", result)
	}
	if _, err := store.ConvertLeases(testContext(t), ls.LeaseModeTTL); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, db.Open())
}

// TestCheckFindsViolations breaks one rule at a time in a log without checksums. A store refuses to start on the log if
// the start checks that rule.
func TestCheckFindsViolations(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	store := startStore(t, db.Open(), modeEtcd)
	mustGrant(t, store, 7, 1000)                                                          // position 2, after the mode
	store.mustPut(t, "a", "1")                                                            // 3, revision 2
	store.mustPut(t, "a", "2")                                                            // 4, revision 3
	putLeased(t, store, 7, "leased")                                                      // 5, revision 4
	if _, err := store.Txn(testContext(t), ls.Unguarded, &ls.TxnRequest{Success: []ls.Op{ // 6 and 7, revision 5
		&ls.PutRequest{Key: []byte("x")}, &ls.PutRequest{Key: []byte("y")},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.DeleteRange(testContext(t), ls.Unguarded,
		&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: []byte("a")}}); err != nil { // 8, revision 6
		t.Fatal(err)
	}
	store.mustPut(t, "a", "3") // 9, revision 7
	store.stop(t)
	mustCheck(t, db.Open())
	dropChecksums(db)
	if result := mustCheck(t, db.Open()); result.WithoutChecksum != 9 || result.LaterWithoutChecksum != 0 {
		t.Errorf("%+v", result)
	}
	whole := db.Content()
	onlyCheck := map[string]bool{
		"a lease that is not there": true, "a revoked lease with keys": true, "rows that should be gone": true,
	}
	for name, test := range map[string]struct {
		change func(*memory.Content)
		want   string
	}{
		"a row is missing": {func(c *memory.Content) {
			c.Rows = slices.Delete(c.Rows, 4, 5)
		}, "position 5: is missing, beyond the deletion floor 0"},
		"a revision is missing": {func(c *memory.Content) {
			c.Rows, c.Floor = slices.Delete(c.Rows, 4, 5), 5
		}, "has revision 5, after 3"},
		"the newest row is missing": {func(c *memory.Content) {
			c.Rows = c.Rows[:8]
		}, "the database reports head 9/"},
		"a revision goes back": {func(c *memory.Content) { c.Rows[3].Revision = 1 }, "has revision 1, after 2"},
		"a sub-revision comes twice": {func(c *memory.Content) {
			c.Rows[6].Sub = 0
		}, "has sub-revision 0 of revision 5, after 0"},
		"a version": {func(c *memory.Content) {
			c.Rows[3].Version = 7
		}, "has version 7 and create revision 2, after 1 and 2"},
		"a create revision": {func(c *memory.Content) {
			c.Rows[3].CreateRevision = 3
		}, "has version 2 and create revision 3, after 1 and 2"},
		"a history from nowhere": {func(c *memory.Content) {
			c.Rows[5].Version, c.Rows[5].CreateRevision = 2, 3
		}, "has a history that is not there"},
		"a created key that is old": {func(c *memory.Content) {
			c.Rows[8].Version = 4
		}, "creates a key with version 4"},
		"a second deletion": {func(c *memory.Content) {
			c.Rows[8].Kind, c.Rows[8].Version, c.Rows[8].CreateRevision = log.KindTombstone, 0, 0
		}, "deletes a key that is deleted"},
		"a lease that is not there": {func(c *memory.Content) {
			c.Rows[1].Lease = 8
		}, "has lease 7, which was not granted"},
		"a revoked lease with keys": {func(c *memory.Content) {
			c.Rows[8] = log.Entry{Position: 9, ID: c.Rows[8].ID, Kind: log.KindLease, Lease: 7, Revision: 6}
		}, "revokes lease 7, to which 1 keys belong"},
		"an unknown kind": {func(c *memory.Content) { c.Rows[8].Kind = 99 }, "is of kind 99"},
		"times within an append": {func(c *memory.Content) {
			c.Rows[6].Time++
		}, "has another time than the entry before it"},
		"a floor beyond the end": {func(c *memory.Content) {
			c.Floor = 100
		}, "the deletion floor 100 is beyond the head 9"},
		"no append ID": {func(c *memory.Content) { c.Rows[2].ID = 0 }, "has no append ID"},
		"a compaction of the future": {func(c *memory.Content) {
			c.Rows[8] = log.Entry{Position: 9, ID: c.Rows[8].ID, Kind: log.KindCompaction, Revision: 50}
		}, "compacts revision 50, beyond 6"},
		"rows that should be gone": {func(c *memory.Content) {
			anHourAgo := log.Timestamp(time.Now().Add(-time.Hour).UnixMilli())
			c.Rows[8] = log.Entry{
				Position: 9, ID: c.Rows[8].ID, Kind: log.KindCompaction, Revision: 6, Time: anHourAgo,
			}
		}, "2 rows of what was compacted at"},
	} {
		db.SetContent(whole)
		db.Edit(test.change)
		result, problems := checkAll(t, db.Open())
		if all := strings.Join(problems, "\n"); !strings.Contains(all, test.want) || result.Problems != len(problems) {
			t.Errorf("%s: %s", name, fmt.Sprint(problems))
		}
		_, err := ls.Open(testContext(t), db.Open(), ls.Options{Logger: testLogger(t), LeaseMode: ls.LeaseModeEtcd})
		if onlyCheck[name] != (err == nil) {
			t.Errorf("%s: the start returns %v", name, err)
		}
	}
}
