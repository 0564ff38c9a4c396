package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

// TestGalera runs one log on each node of a cluster. It covers races, preconditions and confirmations across nodes, and
// the visibility of appends of another node.
func TestGalera(t *testing.T) {
	s := database.Shared(t, database.Galera)
	name := s.Database(t)
	var logs []*Log
	var addresses []string
	for node := range s.Nodes() {
		l := openLog(t, s.In(s.Env(t, fmt.Sprintf("DSN_%d", node+1)), name))
		t.Cleanup(func() { _ = l.Close() })
		logs = append(logs, l)
		addresses = append(addresses, s.Address(node+1))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var head log.Head
	t.Run("TakingTurns", func(t *testing.T) {
		// Each append immediately follows one on another node. Appends that the node has not applied yet must not cause
		// a conflict, nor be missing from reads and confirmations.
		for i := range 300 {
			a, b := logs[i%3], logs[(i+1)%3]
			head = mustAppend(t, a, head, drivertest.BenchEntries(1+i%5))
			if i%2 == 0 {
				continue // the next append is the first thing on its node, without a query that waits
			}
			end, err := b.End(ctx)
			if err != nil || end.Head != head {
				t.Fatalf("End is %v, %v; want %v", end, err, head)
			}
			entries, end, err := b.Read(ctx, head.Position-1, 10)
			if err != nil || len(entries) != 1 || end.Head != head {
				t.Fatalf("Read: %d entries, %v, %v; want %v", len(entries), end, err, head)
			}
			if err := logs[(i+2)%3].Confirm(ctx, head); err != nil {
				t.Fatalf("Confirm: %v", err)
			}
			other := log.Head{Position: head.Position, ID: head.ID + 1}
			if err := b.Confirm(ctx, other); !errors.Is(err, log.ErrConflict) {
				t.Fatalf("Confirm of a missing entry: %v", err)
			}
			if err := b.Append(ctx, other, 1, drivertest.BenchEntries(1)); !errors.Is(err, log.ErrConflict) {
				t.Fatalf("Append after a missing entry: %v", err)
			}
		}
	})
	t.Run("Race", func(t *testing.T) {
		var (
			mu      sync.Mutex
			counts  = map[string]int{}
			acked   = map[log.AppendID]log.Head{}
			unknown = map[log.AppendID]bool{}
			wg      sync.WaitGroup
		)
		for i := range 6 {
			l := logs[i%3]
			wg.Go(func() {
				for range 40 {
					end, err := l.End(ctx)
					if err != nil {
						t.Errorf("End: %v", err)
						return
					}
					id, rows := log.AppendID(rand.Int64N(1<<62)+1), 1+rand.IntN(4)
					err = l.Append(ctx, end.Head, id, drivertest.BenchEntries(rows))
					mu.Lock()
					switch {
					case err == nil:
						counts["acknowledged"]++
						acked[id] = end.Head
					case errors.Is(err, log.ErrConflict):
						counts["conflicts"]++
					case errors.Is(err, log.ErrUnknown):
						counts["unknown"]++
						unknown[id] = true
					default:
						t.Errorf("Append: %v", err)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		t.Logf("6 writers on 3 nodes: %v", counts)
		entries, _, err := logs[1].Read(ctx, head.Position, 4096)
		if err != nil {
			t.Fatal(err)
		}
		next := head.Position + 1
		for _, e := range entries {
			after, ok := acked[e.ID]
			if e.Position != next || !ok && !unknown[e.ID] {
				t.Fatalf("position %d (want %d) is of append %x, which no writer made", e.Position, next, e.ID)
			}
			if e.Sub == 0 && ok && e.Position <= after.Position {
				t.Fatalf("append %x after %v stands at %d", e.ID, after, e.Position)
			}
			next++
		}
		stored := map[log.AppendID]bool{}
		for _, e := range entries {
			stored[e.ID] = true
		}
		for id := range acked {
			if !stored[id] {
				t.Errorf("append %x was acknowledged and is lost", id)
			}
		}
		if counts["acknowledged"] == 0 || counts["conflicts"] == 0 {
			t.Error("the writers did not race")
		}
	})
	t.Run("AnotherNode", func(t *testing.T) {
		// The first address does not answer, so that the other nodes serve.
		dsn := s.In(strings.Replace(s.Env(t, "DSN_1"), s.Address(1), "127.0.0.1:1,"+addresses[1]+","+addresses[2], 1),
			name)
		l := openLog(t, dsn)
		defer func() { _ = l.Close() }()
		end, err := l.End(ctx)
		if err != nil {
			t.Fatal(err)
		}
		head = mustAppend(t, l, end.Head, drivertest.BenchEntries(maxRows+1)) // and a transaction of several statements
		for i, other := range logs {
			if end, err := other.End(ctx); err != nil || end.Head != head {
				t.Errorf("node %d: %v, %v; want %v", i+1, end, err, head)
			}
		}
	})
	t.Run("ReadOnlyNode", func(t *testing.T) {
		// A log with several servers skips one that is read-only, even if its user could write there.
		admin(t, s, "SET GLOBAL read_only = 1") // on the first node
		t.Cleanup(func() { admin(t, s, "SET GLOBAL read_only = 0") })
		l := openLog(t, s.In(strings.Replace(s.Env(t, "DSN_1"), s.Address(1), addresses[0]+","+addresses[1], 1), name))
		defer func() { _ = l.Close() }()
		end, err := l.End(ctx)
		if err != nil {
			t.Fatal(err)
		}
		head = mustAppend(t, l, end.Head, drivertest.BenchEntries(1))
		if err := logs[0].Append(ctx, head, 5, drivertest.BenchEntries(1)); !errors.Is(err, log.ErrReadOnly) {
			t.Errorf("Append on the read-only node: %v", err)
		}
	})
}
