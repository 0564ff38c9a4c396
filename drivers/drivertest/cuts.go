package drivertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/logstructured/log"
)

// fault breaks connections as networks do. New connections work when it returns, but held data may be delivered later.
func fault(cs proxy.Connections, late *sync.WaitGroup) string {
	switch rand.IntN(6) {
	case 0:
		cs.Cut(proxy.Reset)
		return "reset"
	case 1:
		cs.Cut(proxy.Close)
		return "closed"
	case 2:
		cs.Set(proxy.ToServer, proxy.Drop)
		<-time.After(rand.N(10 * time.Millisecond))
		cs.Cut(proxy.Reset)
		return "requests dropped"
	case 3:
		cs.Set(proxy.ToClient, proxy.Drop)
		<-time.After(rand.N(10 * time.Millisecond))
		cs.Cut(proxy.Reset)
		return "answers swallowed"
	case 4:
		cs.Set(proxy.ToClient, proxy.Drop)
		<-time.After(rand.N(10 * time.Millisecond))
		cs.CutClients(proxy.Close)
		return "client gone"
	}
	cs.Set(proxy.ToServer, proxy.Hold)
	<-time.After(rand.N(10 * time.Millisecond))
	cs.CutClients(proxy.Reset)
	late.Go(func() {
		<-time.After(rand.N(300 * time.Millisecond))
		cs.Set(proxy.ToServer, proxy.Forward)
	})
	return "delivered late"
}

// cutAnywhere breaks the connections at random moments of appends of several sizes. The result of Append must match
// what happened. An unknown outcome is settled as in the store: by retrying with the same head and ID.
func (s suite) cutAnywhere(t *testing.T) {
	through, direct, p := s.Through(t)
	l, other := opened(t, through), opened(t, direct)
	ctx := testContext(t)
	head := mustAppend(t, l, log.Head{}, puts(2, cancelRows))
	start := time.Now()
	head = mustAppend(t, l, head, puts(2, cancelRows))
	usual := time.Since(start)
	var late sync.WaitGroup
	defer late.Wait()
	counts := map[outcome]int{}
	written := 0
	faults := map[string]int{}
	expected := []log.Head{head}
	for n := range 60 {
		// Make sure that the connection for appending exists, so that it breaks during the append and not while it is
		// made.
		warm := newID()
		_ = (&networked{through: l, head: head}).settle(ctx, t, warm, puts(2, 1))
		head = log.Head{Position: head.Position + 1, ID: warm}
		expected = append(expected, head)
		id, rows := newID(), []int{1, 70, cancelRows}[n%3]
		entries := puts(log.Revision(n+3), rows)
		result := make(chan error, 1)
		go func() {
			short, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			result <- l.Append(short, head, id, entries)
		}()
		<-time.After(rand.N(usual + time.Millisecond))
		faults[fault(p.Current(), &late)]++
		err := received(t, result)
		counts[outcomeOf(err)]++
		next := log.Head{Position: head.Position + log.Position(rows), ID: id}
		switch outcomeOf(err) {
		case conflict:
			t.Fatalf("append %d after %v: %v, without another writer", n, head, err)
		case acknowledged:
			head = next
			expected = append(expected, head)
		case failed:
			if end := mustEnd(t, other); end.Head != head {
				t.Fatalf("append %d, %x, failed (%v), and the end is %v, was %v", n, uint64(id), err,
					end.Head, head)
			}
		case unknown:
			retryErr := (&networked{through: l, head: head}).settle(ctx, t, id, entries)
			if errors.Is(retryErr, log.ErrConflict) {
				written++
			}
			head = next
			expected = append(expected, head)
		}
		// Sometimes another replica appends, so that an append that is still on its way conflicts.
		if n%4 == 3 {
			head = mustAppend(t, other, head, puts(2, 2))
			expected = append(expected, head)
		}
	}
	late.Wait()
	await(t, "what was held is done", func() bool { return p.Current().Held(proxy.ToServer) == 0 })
	t.Logf("60 appends, faults %v: acknowledged %d, unknown %d (%d of them had been written), failed %d",
		faults, counts[acknowledged], counts[unknown], written, counts[failed])
	if counts[unknown] == 0 {
		t.Error("no fault made the outcome of an append unknown")
	}
	expected = append(expected, head)
	i := 0
	for _, e := range readAll(t, other, 0) {
		if e.Position > 2*cancelRows {
			for e.Position > expected[i].Position {
				i++
			}
			if e.ID != expected[i].ID {
				t.Fatalf("position %d is of append %x, want %x", e.Position, uint64(e.ID), uint64(expected[i].ID))
			}
		}
	}
	if end := mustEnd(t, other); end.Head != head {
		t.Errorf("the end is %v, want %v", end.Head, head)
	}
}

// settle retries an append until its outcome is known: nil, or a conflict with itself.
func (n *networked) settle(ctx context.Context, t *testing.T, id log.AppendID, entries []log.Entry) error {
	t.Helper()
	var err error
	await(t, "the outcome of an append is known", func() bool {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		err = n.through.Append(short, n.head, id, entries)
		return err == nil || errors.Is(err, log.ErrConflict)
	})
	if err != nil {
		got, _, readErr := n.through.Read(ctx, n.head.Position, 1)
		if readErr != nil || len(got) == 0 || got[0].ID != id {
			t.Fatalf("the append conflicts (%v), and after %v stands %+v (%v)", err, n.head, got, readErr)
		}
	}
	return err
}

// writersRaceUnderCuts makes eight writers append concurrently while their connections keep breaking. Each of them must
// recover afterwards.
func (s suite) writersRaceUnderCuts(t *testing.T) {
	const writers, long = 8, 4 * time.Second
	through, direct, p := s.Through(t)
	logs := make([]log.Log, writers)
	for i := range logs {
		logs[i] = opened(t, through)
	}
	reader := opened(t, direct)
	ctx := testContext(t)
	l := ledger{attempts: map[log.AppendID]attempt{}}
	var wg, late, breaking sync.WaitGroup
	done := make(chan struct{})
	for writer, target := range logs {
		wg.Go(func() {
			l.write(ctx, t, writer, target, func(int) bool {
				select {
				case <-done:
					return true
				default:
					return false
				}
			}, time.Second)
		})
	}
	faults := map[string]int{}
	breaking.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(rand.N(60 * time.Millisecond)):
			}
			all := p.Current()
			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			faults[fault(all[:len(all)/4], &late)]++
		}
	})
	<-time.After(long)
	close(done)
	breaking.Wait()
	late.Wait()
	wg.Wait()
	await(t, "what was held is done", func() bool { return p.Current().Held(proxy.ToServer) == 0 })
	t.Logf("faults, each of a quarter of the connections: %v", faults)
	if sum := l.check(t, writers, settled(t, reader)); sum[acknowledged] <= writers || sum[unknown] == 0 {
		t.Error("nothing was put to the test")
	}
}

// settled reads the log after it has not changed for a while, so that statements in progress have ended.
func settled(t *testing.T, l log.Log) []log.Entry {
	t.Helper()
	end, since := mustEnd(t, l).Head, time.Now()
	await(t, "the log is quiet", func() bool {
		if now := mustEnd(t, l).Head; now != end {
			end, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
	return readAll(t, l, 0)
}
