package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/logstructured/log"
)

// TestFailedSync fails one sync of a file at a random moment. Acknowledged appends survive a loss of power right after
// the failure and after the next start, and so do all entries that this start has returned.
func TestFailedSync(t *testing.T) {
	rounds := 60
	if raceDetector {
		rounds = 8
	}
	reported := map[string]int{}
	for round := range rounds {
		for name, most := range map[string]int{"state.db": 4, "state.db-wal": 60} {
			f := &failedSync{name: name, after: rand.N(most)}
			if err := f.run(t); err != nil {
				t.Errorf("round %d: sync %d of %s: %v", round, f.after, name, err)
			}
			if f.reported {
				reported[name]++
			}
		}
	}
	t.Logf("syncs failed: %v", reported)
	if reported["state.db"] == 0 || reported["state.db-wal"] == 0 {
		t.Error("no sync failed")
	}
}

// failedSync is one round, in which a sync of the file with this name fails after some others.
type failedSync struct {
	name  string
	after int

	// The disk's mutex guards the fields below.
	reported bool
	// later names operations on the files after the failure that must not happen.
	later []string
}

func (f *failedSync) fail(op, name string) int32 {
	switch {
	case f.reported && name == f.name && (op == "truncate" || op == "delete" || op == "write" && name == "state.db"):
		f.later = append(f.later, op+" "+name)
	case op == "sync" && name == f.name && !f.reported:
		if f.after--; f.after < 0 {
			f.reported = true
			return sqlite3.SQLITE_IOERR_FSYNC
		}
	}
	return 0
}

func (f *failedSync) run(t *testing.T) error {
	l, d := openFaulty(t, "", time.Millisecond)
	ctx := context.Background()
	end, err := l.End(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.fail = f.fail
	d.mu.Unlock()
	c := cut{survival: survival(rand.N(int(survivals)))}
	err = f.load(ctx, l, &c)
	closeErr := l.Close()
	d.mu.Lock()
	d.fail = nil
	reported, later := f.reported, f.later
	c.image = d.image(c.survival)
	d.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, log.ErrSyncFailed):
		return fmt.Errorf("the load ended with %w, want %w", err, log.ErrSyncFailed)
	case reported != errors.Is(closeErr, log.ErrSyncFailed) || !reported && closeErr != nil:
		return fmt.Errorf("a sync failed: %v; Close returned %w", reported, closeErr)
	case len(later) > 0:
		return fmt.Errorf("after the failure: %v", later)
	}
	if err := c.check(t, end.ClusterID); err != nil {
		return fmt.Errorf("loss of power after the failure, survival %d: %w", c.survival, err)
	}
	if err := f.restart(t, l.cfg, d, c, end.ClusterID); err != nil {
		return fmt.Errorf("after the next start: %w", err)
	}
	return nil
}

// load appends and deletes until an error, or for a while.
func (f *failedSync) load(ctx context.Context, l *Log, c *cut) error {
	var head log.Head
	for n := range uint64(60) {
		c.begun = n + 1
		id := log.AppendID(n + 1)
		if err := f.append(ctx, l, head, id, powerEntries(n)); err != nil {
			if end, endErr := l.End(ctx); !errors.Is(endErr, log.ErrSyncFailed) {
				return fmt.Errorf("after %w: End returned %v, %w", err, end, endErr)
			}
			return err
		}
		c.acknowledged = n + 1
		head = log.Head{Position: head.Position + powerRows, ID: id}
		if n%16 == 15 {
			if err := f.remove(ctx, l, c); err != nil {
				return err
			}
		}
	}
	// The load is over, and a checkpoint may still be under way.
	var err error
	for deadline := time.Now().Add(5 * time.Second); err == nil && l.dirty.Load() && time.Now().Before(deadline); {
		_, err = l.End(ctx)
	}
	return err
}

// append appends, sometimes concurrently with a reader and a checkpoint. The reader's snapshot ends before the append,
// so the checkpoint copies only a part of the WAL, which SQLite does without a sync.
func (f *failedSync) append(ctx context.Context, l *Log, head log.Head, id log.AppendID, entries []log.Entry) error {
	if head.Position == 0 || rand.N(4) > 0 {
		return l.Append(ctx, head, id, entries)
	}
	_, err := l.Scan(ctx, head.Position-1, func([]log.Entry) error {
		err := l.Append(ctx, head, id, entries)
		_, checkpointErr := l.checkpoint()
		return errors.Join(err, checkpointErr)
	})
	return err
}

// remove deletes most rows up to the newest ones, and sometimes rewrites the file.
func (f *failedSync) remove(ctx context.Context, l *Log, c *cut) error {
	next := log.Position(c.acknowledged-5) * powerRows
	c.nextFloor = next
	var positions []log.Position
	for p := c.floor + 1; p <= next; p++ {
		if p%10 != 0 {
			positions = append(positions, p)
		}
	}
	if err := l.Delete(ctx, log.Head{}, positions, next); err != nil {
		return err
	}
	c.floor = next
	if rand.N(3) > 0 {
		return nil
	}
	return l.Defragment(ctx)
}

// restart opens the files as they are on a machine that stayed up, and then loses power.
func (f *failedSync) restart(t *testing.T, cfg config, d *disk, c cut, clusterID uint64) error {
	cfg.checkpointInterval = time.Millisecond
	l, err := open(context.Background(), cfg, quiet())
	if err != nil {
		return err
	}
	end, err := l.End(context.Background())
	if err != nil {
		return err
	}
	if uint64(end.Position) < c.acknowledged*powerRows {
		return fmt.Errorf("%d appends were acknowledged, and the log ends at %d", c.acknowledged, end.Position)
	}
	// The entries that this start has returned must not disappear.
	c.acknowledged = uint64(end.Position) / powerRows
	d.mu.Lock()
	c.image = d.image(c.survival)
	d.mu.Unlock()
	var closed sync.WaitGroup
	defer closed.Wait()
	closed.Go(func() { _ = l.Close() })
	if err := c.check(t, clusterID); err != nil {
		return fmt.Errorf("survival %d: %w", c.survival, err)
	}
	return nil
}
