package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

// TestSynchronousStandby stops the standby, starts it again, and promotes it while the primary keeps running.
func TestSynchronousStandby(t *testing.T) {
	s := database.Start(t, database.PostgresSync)
	dsn := s.DSN(t)
	name := databaseOf(t, dsn)
	// These settings of the database would make commits return early, and suppress the warning about it.
	execute(t, s, name, "ALTER DATABASE "+name+" SET synchronous_commit = off", "ALTER DATABASE "+name+
		" SET client_min_messages = error")
	l := mustOpen(t, dsn)
	ctx := within(t, time.Minute)
	if err := l.Append(ctx, log.Head{}, 1, onePut("first")); err != nil {
		t.Fatal(err)
	}
	head := log.Head{Position: 1, ID: 1}
	if end := mustEnd(t, l); end.Head != head || !l.durableEnd.Load() {
		t.Fatalf("end is %v, durable %v", end.Head, l.durableEnd.Load())
	}

	s.Kill(t, 2)
	short := func() context.Context { return within(t, 700*time.Millisecond) }
	if end, err := l.End(short()); err == nil {
		t.Errorf("End without the standby: %v", end.Head)
	}
	if err := l.Append(short(), head, 2, onePut("second")); !errors.Is(err, log.ErrUnknown) {
		t.Fatalf("Append without the standby: %v, want unknown", err)
	}
	// The server continues to wait for the standby, and the commit stays invisible meanwhile.
	if entries, end, err := l.Read(ctx, 1, 10); err != nil || len(entries) != 0 || end.Head != head {
		t.Fatalf("Read: %d entries, %v, %v", len(entries), end.Head, err)
	}
	const cancelWait = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	// A wait that an administrator cancels leaves the entry visible, but not durable.
	head = log.Head{Position: 2, ID: 2}
	eventually(t, "the entry to be visible", func() bool {
		execute(t, s, name, cancelWait)
		entries, end, err := l.Read(ctx, 1, 10)
		return err == nil && len(entries) == 1 && end.Head == head
	})
	if err := l.Confirm(short(), head); err == nil || errors.Is(err, log.ErrConflict) {
		t.Errorf("Confirm without the standby: %v", err)
	}
	// When another session cancels the wait, the server sends a warning and reports success.
	canceled := make(chan error, 1)
	go func() { canceled <- l.Append(ctx, head, 3, onePut("third")) }()
	eventually(t, "the wait to be cancelled", func() bool {
		execute(t, s, name, cancelWait)
		select {
		case err := <-canceled:
			if !errors.Is(err, log.ErrUnknown) || !errors.Is(err, errWaitCanceled) {
				t.Errorf("Append whose wait was cancelled: %v, want unknown", err)
			}
			return true
		default:
			return false
		}
	})
	head = log.Head{Position: 3, ID: 3}

	s.Restart(t, 2)
	eventually(t, "the entry to be confirmed", func() bool { return l.Confirm(within(t, 5*time.Second), head) == nil })
	if end := mustEnd(t, l); end.Head != head {
		t.Errorf("end is %v, want %v", end.Head, head)
	}
	if err := l.Confirm(ctx, log.Head{Position: 3, ID: 4}); !errors.Is(err, log.ErrConflict) {
		t.Errorf("Confirm of another entry: %v", err)
	}

	// The standby is promoted without the knowledge of the old primary, which accepts statements and does not finish
	// them.
	s.Promote(t)
	eventually(t, "the end from the new primary", func() bool {
		end, err := l.End(within(t, 2*time.Second))
		return err == nil && end.Head == head
	})
	eventually(t, "an append on the new primary", func() bool {
		err := l.Append(within(t, 2*time.Second), head, 4, onePut("fourth"))
		return err == nil || errors.Is(err, log.ErrConflict)
	})
	s.Kill(t, 1)
	single := s.In(s.Env(t, "ADMIN_DSN_2"), name)
	promoted := mustOpen(t, single)
	entries, end, err := promoted.Read(ctx, 3, 10)
	if err != nil || len(entries) != 1 || entries[0].ID != 4 || end.Head != (log.Head{Position: 4, ID: 4}) {
		t.Errorf("the new primary has %d more entries, end %v, %v", len(entries), end.Head, err)
	}
	if got, _, err := l.Read(ctx, 3, 10); err != nil || len(got) != 1 || got[0].ID != 4 {
		t.Errorf("Read after the append: %d entries, %v", len(got), err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		case <-ticker.C:
		}
	}
}
