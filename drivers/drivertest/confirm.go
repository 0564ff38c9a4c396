package drivertest

import (
	"context"
	"errors"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

func (s suite) confirm(t *testing.T) {
	open := s.New(t)
	logs := []log.Log{opened(t, open), opened(t, open)}
	ctx := testContext(t)
	first := mustAppend(t, logs[0], log.Head{}, puts(2, 3))
	second := mustAppend(t, logs[0], first, puts(3, 2))
	for i, l := range logs {
		for _, entry := range []log.Head{first, second, first} {
			if err := l.Confirm(ctx, entry); err != nil {
				t.Errorf("log %d: Confirm of %v: %v", i, entry, err)
			}
		}
		for _, absent := range []log.Head{
			{Position: second.Position, ID: first.ID},
			{Position: second.Position, ID: newID()},
			{Position: second.Position + 1, ID: second.ID},
			{Position: 1 << 40, ID: second.ID},
		} {
			if err := l.Confirm(ctx, absent); !errors.Is(err, log.ErrConflict) {
				t.Errorf("log %d: Confirm of %v, where the end is %v: %v, want a conflict", i, absent, second, err)
			}
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := logs[0].Confirm(canceled, second); !errors.Is(err, context.Canceled) {
		t.Errorf("Confirm: %v, want the context's error", err)
	}
	// Confirm is not an append, and does not block one.
	if end := mustEnd(t, logs[1]); end.Head != second || end.Floor != 0 {
		t.Errorf("end is %v with floor %d, want %v and 0", end.Head, end.Floor, second)
	}
	third := mustAppend(t, logs[1], second, puts(4, 1))
	reopened := opened(t, open)
	if err := reopened.Confirm(ctx, third); err != nil {
		t.Errorf("Confirm after opening again: %v", err)
	}
	if got := readAll(t, reopened, 0); len(got) != 6 {
		t.Errorf("%d entries, want 6", len(got))
	}
}

// deleteIsGuarded calls Delete with a guard from another history.
func (s suite) deleteIsGuarded(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	first := mustAppend(t, logs[0], log.Head{}, puts(2, 3))
	second := mustAppend(t, logs[0], first, puts(3, 3))
	for _, other := range []log.Head{
		{Position: first.Position, ID: newID()},
		{Position: second.Position, ID: first.ID},
		{Position: second.Position + 1, ID: second.ID},
	} {
		if err := logs[1].Delete(ctx, other, upTo(1, 2), 3); !errors.Is(err, log.ErrConflict) {
			t.Errorf("Delete guarded by %v, where the end is %v: %v, want a conflict", other, second, err)
		}
	}
	if got := readAll(t, logs[0], 0); len(got) != 6 {
		t.Fatalf("%d entries, want 6", len(got))
	}
	if err := logs[1].Delete(ctx, second, upTo(1, 2), 3); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if got := readAll(t, logs[0], 0); len(got) != 4 || got[0].Position != 3 {
		t.Errorf("%d entries, want those from position 3", len(got))
	}
}
