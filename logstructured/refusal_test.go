package logstructured_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// TestFullDiskIsReported has a database that answers reads and takes small writes only. The store reports the full disk
// until there is room again.
func TestFullDiskIsReported(t *testing.T) {
	t.Parallel()
	source := newFaultyLog(openSQLite(t, tempDatabase(t)))
	r := startStore(t, source, ls.Options{RequestTimeout: patience})
	r.Announce(log.Replica{ID: 7})
	r.mustPut(t, "a", "1")
	if err := r.Refused(); err != nil || r.Full() {
		t.Errorf("before: %v", err)
	}
	source.fail(faults{append: func(ctx context.Context, a *realAppend) error {
		for _, e := range a.entries {
			if len(e.Value) > 100 {
				return fmt.Errorf("pretended: %w", log.ErrNoSpace)
			}
		}
		return a.now(ctx)
	}})
	if _, err := r.Put(testContext(t), ls.Unguarded,
		&ls.PutRequest{Key: []byte("a"), Value: bytes.Repeat([]byte("x"), 200)}); !errors.Is(err, log.ErrNoSpace) {
		t.Errorf("Put: %v", err)
	}
	full := func(when string) {
		t.Helper()
		err := r.Refused()
		if !errors.Is(err, log.ErrNoSpace) || !strings.Contains(err.Error(), "disk of the database is full") {
			t.Errorf("%s: refused: %v", when, err)
		}
		if !r.Full() || !slices.Contains(r.AppliedAlarms(), ls.Alarm{Type: ls.AlarmNoSpace, Member: 7}) {
			t.Errorf("%s: alarms %v", when, r.AppliedAlarms())
		}
	}
	full("after a put")
	r.mustPut(t, "a", "2")
	full("after a small put that the database took")
	if err := r.Ready(testContext(t)); err != nil {
		t.Errorf("a linearizable read: %v", err)
	}
	probes := source.appends.Load() + 2
	eventually(t, "the store tries by itself", func() bool { return source.appends.Load() >= probes })
	full("after attempts of the store's own")
	source.heal()
	eventually(t, "there is room again", func() bool { return !r.Full() })
	if err := r.Refused(); err != nil || len(r.AppliedAlarms()) > 0 {
		t.Errorf("afterwards: %v, %v", err, r.AppliedAlarms())
	}
	if rev := r.mustPut(t, "a", "3"); rev != 4 {
		t.Errorf("the third successful put is revision %d", rev)
	}
}

// TestRefusedWritesAreReported has a database that takes no writes for another reason. The store reports it only after
// a while.
func TestRefusedWritesAreReported(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	source := newFaultyLog(openSQLite(t, path))
	r := startStore(t, source, ls.Options{RequestTimeout: patience})
	r.mustPut(t, "a", "1")
	source.fail(faults{append: func(context.Context, *realAppend) error { return errDatabase }})
	if _, err := r.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte("a")}); err == nil {
		t.Error("Put succeeds")
	}
	began := time.Now()
	if err := r.Refused(); err != nil && time.Since(began) < time.Second {
		t.Errorf("a single failure is reported: %v", err)
	}
	eventually(t, "it is reported", func() bool { return errors.Is(r.Refused(), errDatabase) })
	if r.Full() || len(r.AppliedAlarms()) > 0 {
		t.Errorf("it counts as a full disk: %v", r.AppliedAlarms())
	}
	source.heal()
	eventually(t, "the end of it", func() bool { return r.Refused() == nil })
	// A replica that starts now finds the log as it must be, with the entry of the store's own attempt.
	startStore(t, openSQLite(t, path), ls.Options{})
}
