package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// TestFailedSyncEndsRun fails a sync in each call of the log. The store ends, and every waiting request gets an error.
func TestFailedSyncEndsRun(t *testing.T) {
	t.Parallel()
	syncFailed := fmt.Errorf("pretended: %w", log.ErrSyncFailed)
	always := func(context.Context) error { return syncFailed }
	for name, f := range map[string]faults{
		"everything": failing(syncFailed),
		"read":       {read: always},
		"append":     {append: func(context.Context, *realAppend) error { return syncFailed }},
		"commit of unknown outcome": {append: func(context.Context, *realAppend) error {
			return fmt.Errorf("%w: %w", log.ErrUnknown, syncFailed)
		}, read: always},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newFaultyLog(openSQLite(t, tempDatabase(t)))
			r := startStore(t, l, ls.Options{RequestTimeout: patience})
			l.fail(f)
			if res, err := r.Put(testContext(t), ls.Unguarded,
				&ls.PutRequest{Key: []byte("a"), Value: []byte("1")}); err == nil && name != "read" {
				t.Errorf("Put returned %v", res)
			}
			select {
			case err := <-r.done:
				r.done <- nil
				if !errors.Is(err, log.ErrSyncFailed) {
					t.Errorf("Run returned %v", err)
				}
			case <-time.After(patience):
				t.Fatal("Run does not return")
			}
			if _, err := r.Put(testContext(t), ls.Unguarded,
				&ls.PutRequest{Key: []byte("a"), Value: []byte("2")}); !errors.Is(err, ls.ErrStopped) {
				t.Errorf("Put after the end: %v", err)
			}
		})
	}
}

// TestCorruptDatabase reports an alarm while the database is corrupt. Writes and linearizable reads fail; serializable
// reads continue.
func TestCorruptDatabase(t *testing.T) {
	t.Parallel()
	l := newFaultyLog(openSQLite(t, tempDatabase(t)))
	r := startStore(t, l, ls.Options{RequestTimeout: patience})
	r.Announce(log.Replica{ID: 7})
	r.mustPut(t, "a", "1")
	l.failAll(fmt.Errorf("pretended: %w", log.ErrCorrupt))
	eventually(t, "the alarm", r.Corrupt)
	if !slices.Contains(r.AppliedAlarms(), ls.Alarm{Type: ls.AlarmCorrupt, Member: 7}) {
		t.Errorf("alarms: %v", r.AppliedAlarms())
	}
	if _, err := r.Put(testContext(t), ls.Unguarded,
		&ls.PutRequest{Key: []byte("a"), Value: []byte("2")}); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Put: %v", err)
	}
	if err := r.Ready(testContext(t)); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Ready: %v", err)
	}
	if status, err := r.Status(testContext(t), ls.Unguarded); err != nil || status.Size.Total == 0 {
		t.Errorf("Status: %v, %v", status, err)
	}
	res, err := r.Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("a")}, Serializable: true})
	if err != nil || len(res.KVs) != 1 || string(res.KVs[0].Value) != "1" {
		t.Errorf("a serializable read: %v, %v", res, err)
	}
	l.heal()
	eventually(t, "the end of the alarm", func() bool { return !r.Corrupt() && len(r.AppliedAlarms()) == 0 })
	r.mustPut(t, "a", "3")
}
