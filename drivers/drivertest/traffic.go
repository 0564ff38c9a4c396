package drivertest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// largeAppend appends 100 MiB in one transaction.
func (s suite) largeAppend(t *testing.T) {
	s.except(t, LargeAppend)
	logs := s.fresh(t, 2)
	entries := puts(2, largeRows)
	pattern := make([]byte, 2<<20)
	for i := range pattern {
		pattern[i] = byte(rand.Uint32())
	}
	for i := range entries {
		entries[i].Value = pattern[i : i+1200<<10]
	}
	start := time.Now()
	head := mustAppend(t, logs[0], log.Head{}, entries)
	t.Logf("append of %d MiB in %d entries: %v", len(entries)*1200>>10, len(entries),
		time.Since(start).Round(time.Millisecond))
	got := readAll(t, logs[1], 0)
	if !slices.EqualFunc(got, entries, sameEntry) {
		t.Error("Read returns something else")
	}
	v, err := logs[1].Values(testContext(t), []log.Position{largeRows, 1})
	if err != nil || !bytes.Equal(v.Values[0], entries[largeRows-1].Value) || v.IDs[0] != head.ID {
		t.Errorf("Values returns something else (%v)", err)
	}
}

// openedTogether opens a fresh database from many replicas at once. One of them must create the tables, and all must
// share one log.
func (s suite) openedTogether(t *testing.T) {
	const replicas = 6
	open := s.New(t)
	logs := make([]log.Log, replicas)
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() { logs[i] = open(t) })
	}
	wg.Wait()
	var head log.Head
	ids := map[uint64]bool{}
	for i, l := range logs {
		if l == nil {
			t.Fatalf("replica %d has no log", i+1)
		}
		defer func() { _ = l.Close() }()
		ids[mustEnd(t, l).ClusterID] = true
		head = mustAppend(t, l, head, puts(2, 2))
	}
	if len(ids) != 1 {
		t.Errorf("the replicas see %d cluster IDs", len(ids))
	}
}

// reopenDuringTraffic opens and closes logs during appends to another log. Neither may disturb the other.
func (s suite) reopenDuringTraffic(t *testing.T) {
	open := s.New(t)
	l := opened(t, open)
	head := mustAppend(t, l, log.Head{}, puts(2, 1))
	stop := appending(t, l, head)
	defer stop()
	var last log.Position
	for range 10 {
		other := open(t)
		end := mustEnd(t, other)
		entries, _, err := other.Read(testContext(t), 0, 1_000_000)
		if err != nil || len(entries) < int(end.Position) || end.Position < last {
			t.Errorf("Read: %d entries, and the end was %v, earlier %d (%v)", len(entries), end.Head, last, err)
		}
		last = end.Position
		if err := other.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if n := stop(); len(readAll(t, l, 0)) != n+1 {
		t.Errorf("%d entries were appended, and the log has another number", n+1)
	}
}
