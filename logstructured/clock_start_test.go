package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// clockedLog is a log whose database has set its clock since the entries were written.
type clockedLog struct {
	log.Log
	ahead log.Timestamp
}

func (l clockedLog) End(ctx context.Context) (log.End, error) {
	end, err := l.Log.End(ctx)
	end.Now += l.ahead
	return end, err
}

func (l clockedLog) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	entries, end, err := l.Log.Read(ctx, after, limit)
	end.Now += l.ahead
	return entries, end, err
}

// TestTTLAcrossStartAfterClockJump starts a store on SQLite after the clock was set. A young key keeps its TTL.
func TestTTLAcrossStartAfterClockJump(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{time.Hour, 10 * time.Second, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			path := tempDatabase(t)
			store := startStore(t, openSQLite(t, path), ls.Options{})
			written := time.Now()
			putLeased(t, store, 3, "key")
			store.stop(t)
			store = startStore(t, clockedLog{openSQLite(t, path), log.Timestamp(ahead.Milliseconds())}, ls.Options{})
			_, at := deletions(t, store, 1)
			mustExpireAfter(t, 3*time.Second, written, at)
		})
	}
}

// TestTTLOfReplicaThatStartsAfterClockJump sets the clock of a database with a running replica, and starts another one.
// No key expires early on either of them, nor on a replica that was opened before the jump and must load the log again.
func TestTTLOfReplicaThatStartsAfterClockJump(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	for _, jumps := range [][]time.Duration{{time.Hour}, {-time.Hour}, {time.Hour, 0}, {-time.Hour, time.Hour}} {
		t.Run(fmt.Sprint(jumps), func(t *testing.T) {
			t.Parallel()
			db := new(memory.Database)
			opts := ls.Options{
				PollInterval: time.Millisecond, CompactRetention: time.Nanosecond, RequestTimeout: patience,
			}
			running := startStore(t, db.Open(), opts)
			asleep := newFaultyLog(db.Open())
			rebuilt := startStore(t, asleep, opts)
			begin := time.Now()
			n := int64(0)
			put := func() {
				if _, err := running.Put(testContext(t), ls.Unguarded,
					&ls.PutRequest{Key: fmt.Append(nil, n), Lease: ls.LeaseID(ttl / time.Second)}); err != nil {
					t.Fatal(err)
				}
				n++
			}
			put()
			eventually(t, "both have it", func() bool { return rebuilt.Revision() == running.Revision() })
			asleep.fail(lookAway)
			for _, ahead := range jumps {
				db.SetClock(ahead)
				put()
			}
			last := time.Now()
			running.mustPut(t, "other", "1")
			running.mustPut(t, "other", "2")
			if _, err := running.Compact(testContext(t), ls.Unguarded, running.Revision(), true); err != nil {
				t.Fatal(err)
			}
			asleep.heal()
			started := startStore(t, db.Open(), opts)
			for _, r := range []*replica{running, rebuilt, started} {
				eventually(t, "all have expired", func() bool {
					res, err := r.Range(testContext(t), ls.Unguarded,
						&ls.RangeRequest{KeyRange: everything, CountOnly: true})
					if err != nil {
						if errors.Is(err, ls.ErrUnavailable) {
							return false
						}
						t.Fatal(err)
					}
					if res.Count < n+1 && time.Since(begin) < ttl-10*time.Millisecond {
						t.Fatalf("a key expired after %v", time.Since(begin))
					}
					return res.Count == 1
				})
			}
			if late := time.Since(last) - ttl; late > 2*time.Second {
				t.Errorf("expired %v late", late)
			}
		})
	}
}
