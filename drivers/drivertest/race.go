package drivertest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// appendsRace runs many concurrent appenders on several replicas. Each append must be acknowledged once and be in the
// log once, and the log must contain nothing else.
func (s suite) appendsRace(t *testing.T) {
	const replicas, appenders, appends = 3, 4, 25
	logs := s.fresh(t, replicas)
	ctx := testContext(t)
	type acknowledged struct {
		at   log.Position
		rows int
	}
	var (
		mu        sync.Mutex
		acks      = map[log.AppendID]acknowledged{}
		conflicts = make([]int, replicas)
		wg        sync.WaitGroup
	)
	start := time.Now()
	for i := range replicas * appenders {
		replica := i % replicas
		wg.Go(func() {
			l := logs[replica]
			for n := range appends {
				id, entries := newID(), puts(log.Revision(n+2), 1+rand.IntN(9))
				for {
					end, err := l.End(ctx)
					if err != nil {
						t.Errorf("End: %v", err)
						return
					}
					err = l.Append(ctx, end.Head, id, entries)
					if errors.Is(err, log.ErrConflict) {
						mu.Lock()
						conflicts[replica]++
						mu.Unlock()
						continue
					}
					if err != nil {
						t.Errorf("Append: %v", err)
						return
					}
					mu.Lock()
					acks[id] = acknowledged{end.Position + 1, len(entries)}
					mu.Unlock()
					break
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d appenders on %d replicas: %d appends acknowledged in %v, conflicts of each replica: %v",
		replicas*appenders, replicas, len(acks), time.Since(start).Round(time.Millisecond), conflicts)
	if len(acks) != replicas*appenders*appends {
		t.Errorf("%d appends acknowledged, want %d", len(acks), replicas*appenders*appends)
	}
	entries := readAll(t, logs[0], 0)
	for i := 0; i < len(entries); {
		e := entries[i]
		ack, ok := acks[e.ID]
		if !ok {
			t.Fatalf("position %d has ID %x, which no writer appended, or twice", e.Position, uint64(e.ID))
		}
		delete(acks, e.ID)
		if e.Position != log.Position(i+1) || e.Position != ack.at || i+ack.rows > len(entries) {
			t.Fatalf("append %x of %d rows was acknowledged at %d, but stands at %d (row %d of %d)", uint64(e.ID),
				ack.rows, ack.at, e.Position, i+1, len(entries))
		}
		for n := range ack.rows {
			if got := entries[i+n]; got.ID != e.ID || got.Sub != int64(n) ||
				got.Position != e.Position+log.Position(n) {
				t.Fatalf("row %d of append %x is %+v", n, uint64(e.ID), got)
			}
		}
		i += ack.rows
	}
	if len(acks) > 0 {
		t.Errorf("%d acknowledged appends are lost", len(acks))
	}
}
