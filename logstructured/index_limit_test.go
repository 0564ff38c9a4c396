package logstructured_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// fill puts keys of 100 KiB until the store refuses one, and returns their number.
func fill(t *testing.T, r *replica, name string) int {
	t.Helper()
	ctx := testContext(t)
	for i := range 1000 {
		_, err := r.Put(ctx, ls.Unguarded,
			&ls.PutRequest{Key: []byte(fmt.Sprintf("%s-%d-", name, i) + strings.Repeat("k", 100<<10))})
		if errors.Is(err, log.ErrNoSpace) {
			return i
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no write was refused")
	return 0
}

// TestIndexLimitRefusesWrites fills the index up to its limit, which raises the alarm NOSPACE. Deletion and compaction
// make room again.
func TestIndexLimitRefusesWrites(t *testing.T) {
	t.Parallel()
	const limit = 2 << 20
	r := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{MaxIndexBytes: limit})
	ctx := testContext(t)
	r.mustPut(t, "small", "1")
	fill(t, r, "first")
	if bytes := r.IndexBytes(); bytes > limit || bytes < limit/2 {
		t.Errorf("the index takes up %d bytes", bytes)
	}
	if alarms := r.AppliedAlarms(); len(alarms) != 1 || alarms[0].Type != ls.AlarmNoSpace {
		t.Errorf("alarms %v", alarms)
	}
	nested := &ls.TxnRequest{Success: []ls.Op{&ls.PutRequest{Key: []byte("k")}}}
	for name, op := range map[string]ls.Op{
		"a transaction": &ls.TxnRequest{Failure: []ls.Op{nested}},
		"a put":         &ls.PutRequest{Key: []byte("small")},
	} {
		if _, err := r.apply(ctx, op); !errors.Is(err, log.ErrNoSpace) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.Range(ctx, ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err != nil {
		t.Errorf("a read: %v", err)
	}
	// Everything goes in one revision. Its tombstones stay until the compaction at a later one.
	full := r.IndexBytes()
	deleted, err := r.DeleteRange(ctx, ls.Unguarded, &ls.DeleteRangeRequest{KeyRange: everything})
	if err != nil {
		t.Fatalf("delete: %v", err)
	}
	if _, err := r.Compact(ctx, ls.Unguarded, deleted.Revision, false); err != nil {
		t.Fatalf("compact: %v", err)
	}
	if _, _, err := r.ClearAlarm(ctx, ls.Unguarded, r.AppliedAlarms()[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Compact(ctx, ls.Unguarded, r.mustPut(t, "small", "2"), false); err != nil {
		t.Fatalf("compact: %v", err)
	}
	eventually(t, "there is room in the index", func() bool { return r.IndexBytes() < full/10 })
	fill(t, r, "second")
}

// TestIndexBeyondItsLimitAtTheStart serves an index beyond its limit, so that keys can be deleted, and raises the
// alarm.
func TestIndexBeyondItsLimitAtTheStart(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	r := startStore(t, openSQLite(t, path), ls.Options{MaxIndexBytes: 2 << 20})
	fill(t, r, "key")
	if _, _, err := r.ClearAlarm(testContext(t), ls.Unguarded, r.AppliedAlarms()[0]); err != nil {
		t.Fatal(err)
	}
	r.stop(t)
	r = startStore(t, openSQLite(t, path), ls.Options{MaxIndexBytes: 1 << 20})
	eventually(t, "the alarm is raised", func() bool { return len(r.AppliedAlarms()) == 1 })
	deleted, err := r.DeleteRange(testContext(t), ls.Unguarded, &ls.DeleteRangeRequest{KeyRange: everything})
	if err != nil || deleted.Deleted == 0 {
		t.Errorf("delete: %v, %v", deleted, err)
	}
}

// TestIndexLimitHoldsForAllReplicas stops the writes of all replicas at the limit of the replica with the lowest one.
func TestIndexLimitHoldsForAllReplicas(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	startStore(t, openSQLite(t, path), ls.Options{MaxIndexBytes: 1 << 20})
	unlimited := startStore(t, openSQLite(t, path), ls.Options{})
	ctx := testContext(t)
	eventually(t, "the alarm of the other replica is raised", func() bool {
		key := fmt.Sprint(time.Now().UnixNano()) + strings.Repeat("k", 100<<10)
		_, err := unlimited.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte(key)})
		return errors.Is(err, log.ErrNoSpace)
	})
}
