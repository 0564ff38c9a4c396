package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

// endingContext ends after a number of calls of Err.
type endingContext struct {
	context.Context //nolint:containedctx // it is one
	left            atomic.Int64
}

func (c *endingContext) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestReadsStopBetweenRows ends the context when a call has read some of its rows.
func TestReadsStopBetweenRows(t *testing.T) {
	l, err := Open(t.Context(), filepath.Join(t.TempDir(), "state.db"), Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const rows = 60
	entries := make([]log.Entry, rows)
	positions := make([]log.Position, rows)
	for i := range entries {
		entries[i] = log.Entry{
			Kind: log.KindPut, Revision: 2, Sub: int64(i), Key: []byte{byte(i)}, Value: make([]byte, 1000),
			CreateRevision: 2, Version: 1,
		}
		positions[i] = log.Position(i + 1)
	}
	if err := l.Append(t.Context(), log.Head{}, 7, entries); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(context.Context) error{
		"values": func(ctx context.Context) error {
			_, err := l.Values(ctx, positions)
			return err
		},
		"read": func(ctx context.Context) error {
			_, _, err := l.Read(ctx, 0, rows)
			return err
		},
	} {
		ctx := &endingContext{Context: t.Context()}
		ctx.left.Store(rows / 2)
		if err := read(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if err := read(t.Context()); err != nil {
			t.Errorf("%s, again: %v", name, err)
		}
	}
}
