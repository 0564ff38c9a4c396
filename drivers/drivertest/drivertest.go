package drivertest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/logstructured/log"
)

// Harness gives the suite access to a driver's databases.
type Harness struct {
	// New creates a fresh, empty database that lives as long as t. It returns a function that opens a log on it, any
	// number of times. The suite closes the logs.
	New func(t testing.TB) (open func(t testing.TB) log.Log)
	// Damage is like New, and also returns a function that damages rows of the database (see [BySQL]).
	Damage func(t testing.TB) (open func(t testing.TB) log.Log, damage Damager)
	// Through is like New for a database that is accessed over a network. The logs that through opens access the
	// database only through the proxy, and those that direct opens do not use the proxy. nil means that the database is
	// part of the process; the network tests are then left out.
	Through func(t testing.TB) (through, direct func(t testing.TB) log.Log, p *proxy.Proxy)
	// Registers reports that the logs implement [log.Registry], because replicas on several machines can share the
	// database.
	Registers bool
	// Notifies reports that the logs implement [log.Notifier], and that the database notifies of appends.
	Notifies bool
	// Only lists the names of the tests to run; empty runs all.
	Only []string
	// Exceptions lists the obligations that the driver cannot keep, with the reasons.
	Exceptions map[Category]string
}

// Category is an obligation that some databases cannot keep.
type Category string

// The categories.
const (
	// HugeAppend is an append of a million entries.
	HugeAppend Category = "huge append"
	// LargeAppend is an append of 100 MiB.
	LargeAppend Category = "large append"
	// LargeEntry is an entry of more than 6 MiB.
	LargeEntry Category = "large entry"
	// Sized means that Size immediately reports the space that the log takes.
	Sized Category = "sized"
	// SpaceReturned means that Defragment after Delete makes the database smaller.
	SpaceReturned Category = "space returned"
	// AppendsDuringDelete means that appends continue while rows are deleted.
	AppendsDuringDelete Category = "appends during delete"
)

type suite struct{ Harness }

// except skips the test if the driver has an exception for category.
func (s suite) except(t *testing.T, category Category) {
	if reason, ok := s.Exceptions[category]; ok {
		t.Skipf("this driver is excused from %q: %s", category, reason)
	}
}

// fresh opens n logs on one fresh database.
func (s suite) fresh(t *testing.T, n int) []log.Log {
	t.Helper()
	open := s.New(t)
	logs := make([]log.Log, n)
	for i := range logs {
		logs[i] = opened(t, open)
	}
	return logs
}

func opened(t *testing.T, open func(testing.TB) log.Log) log.Log {
	t.Helper()
	l := open(t)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// testContext returns a context that ends when a test has taken far too long.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newID() log.AppendID {
	for {
		if id := log.AppendID(rand.Uint64()); id != 0 {
			return id
		}
	}
}

// puts returns n puts of one revision with distinct keys.
func puts(revision log.Revision, n int) []log.Entry {
	entries := make([]log.Entry, n)
	for i := range entries {
		entries[i] = log.Entry{
			Kind:           log.KindPut,
			Revision:       revision,
			Sub:            int64(i),
			Key:            []byte{'k', byte(i >> 16), byte(i >> 8), byte(i)},
			Value:          []byte{'v', byte(revision), byte(i)},
			CreateRevision: revision,
			Version:        1,
		}
	}
	return entries
}

// mustAppend appends to a log that has no other appender, and returns the new head.
func mustAppend(t testing.TB, l log.Log, head log.Head, entries []log.Entry) log.Head {
	t.Helper()
	id := newID()
	if err := l.Append(context.Background(), head, id, entries); err != nil {
		t.Fatalf("Append of %d entries after %v: %v", len(entries), head, err)
	}
	return log.Head{Position: head.Position + log.Position(len(entries)), ID: id}
}

// fill appends n puts, rows at a time, and returns the new head.
func fill(t testing.TB, l log.Log, head log.Head, n, rows int) log.Head {
	t.Helper()
	for done := 0; done < n; done += rows {
		head = mustAppend(t, l, head, puts(log.Revision(2+done), rows))
	}
	return head
}

func mustEnd(t testing.TB, l log.Log) log.End {
	t.Helper()
	end, err := l.End(context.Background())
	if err != nil {
		t.Fatalf("End: %v", err)
	}
	return end
}

// readAll reads all entries after a position in steps.
func readAll(t testing.TB, l log.Log, after log.Position) []log.Entry {
	t.Helper()
	var all []log.Entry
	for {
		entries, end, err := l.Read(context.Background(), after, 1000)
		if err != nil {
			t.Fatalf("Read after %d: %v", after, err)
		}
		if len(entries) == 0 {
			if len(all) > 0 && end.Head != (log.Head{Position: all[len(all)-1].Position, ID: all[len(all)-1].ID}) {
				t.Fatalf("Read ends at %d, but the end is %v", after, end.Head)
			}
			return all
		}
		all = append(all, entries...)
		after = entries[len(entries)-1].Position
	}
}
