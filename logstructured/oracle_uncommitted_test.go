package logstructured_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// errDatabase is a failure that a driver has no sentinel for: the statement did not reach the database.
var errDatabase = errors.New("connection refused")

// TestFailedDeleteIsNotVisible deletes a key while clients update it, and fails the append of the tombstone. An update
// of the same batch was evaluated without the key. Its client must not learn that, because the delete did not happen.
func TestFailedDeleteIsNotVisible(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, l, ls.Options{})
	store.mustPut(t, "key", "value")
	l.fail(faults{append: func(ctx context.Context, a *realAppend) error {
		for _, e := range a.entries {
			if e.Kind == log.KindTombstone {
				return errDatabase
			}
		}
		return a.now(ctx)
	}})

	var updates, refused atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte("key"), IgnoreValue: true})
				if updates.Add(1); err != nil && !errors.Is(err, ls.ErrUnavailable) && refused.Add(1) == 1 {
					t.Errorf("update of a key that exists all the time: %v", err)
				}
			}
		})
	}
	for range 20 {
		_, err := store.DeleteRange(ctx, ls.Unguarded,
			&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: []byte("key")}})
		if !errors.Is(err, ls.ErrUnavailable) || errors.Is(err, log.ErrUnknown) {
			t.Errorf("a delete whose append failed: %v", err)
		}
		// The next one meets the updates in full flow again.
		seen := updates.Load()
		eventually(t, "updates go on", func() bool { return updates.Load() > seen+32 })
	}
	close(stop)
	wg.Wait()
}
