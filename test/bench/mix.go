package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// mixWorkload sends the requests of a kube-apiserver, in its proportions, while watchers receive the changes. Each
// watcher has a stream and a prefix of its own, and the clients are distributed over the prefixes. One operation is one
// request.
func mixWorkload(clients, watchers int) workload {
	return workload{
		name:  fmt.Sprintf("mix-%d", clients),
		title: fmt.Sprintf("Kubernetes-like mix, %d clients, %d watchers", clients, watchers), unit: "request",
		run: func(ctx context.Context, s *slot) (sample, error) {
			m := &mixLoad{slot: s, sent: make([]atomic.Int64, maxWatchWrites), prefixes: make([]mixPrefix, watchers)}
			g, ctx := errgroup.WithContext(ctx)
			receiving, stop := context.WithCancel(ctx)
			defer stop()
			for n := range m.prefixes {
				p := &m.prefixes[n]
				p.name = fmt.Sprintf("%s%02d/", s.prefix, n)
				var err error
				if p.stream, err = openWatch(receiving, s.client, n, p.name, 1); err != nil {
					return sample{}, err
				}
			}
			m.measured = s.span()
			for n := range m.prefixes {
				g.Go(func() error { return m.follow(receiving, &m.prefixes[n]) })
			}
			var got sample
			g.Go(func() (err error) {
				defer stop()
				if got, err = s.closedLoop(ctx, clients, m.newClient); err != nil {
					return err
				}
				return m.wait(ctx)
			})
			if err := g.Wait(); err != nil {
				return sample{}, err
			}
			parts := make([][]time.Duration, watchers)
			for n := range m.prefixes {
				p := &m.prefixes[n]
				if p.received != p.wrote.Load() {
					return sample{}, fmt.Errorf("the watcher of %s saw other changes than were acknowledged", p.name)
				}
				got.writes += p.writes.Load()
				parts[n] = p.latencies
			}
			got.live, got.watch = m.live.Load(), merge(parts)
			return got, nil
		},
	}
}

// mixLoad is one slot of the mix.
type mixLoad struct {
	slot     *slot
	measured span
	prefixes []mixPrefix
	// puts numbers the puts, whose values contain the number; sent has the times of the first of them.
	puts atomic.Uint64
	sent []atomic.Int64
	// keys numbers the keys; live is the number of existing keys.
	keys atomic.Uint64
	live atomic.Int64
}

// mixPrefix is a prefix with its watcher.
type mixPrefix struct {
	name   string
	stream *watchStream
	// writes is the number of acknowledged writes; wrote is the sum of the fingerprints of their changes.
	writes atomic.Int64
	wrote  atomic.Uint64
	// events is the number of received events. The receiving goroutine owns the rest: received is the sum of their
	// fingerprints.
	events    atomic.Int64
	received  uint64
	revision  int64
	latencies []time.Duration
}

// fingerprint identifies a change. Since the revisions of a watcher's events must increase, equal sums mean the same
// changes, each of them once.
func fingerprint(key []byte, revision int64, deleted bool) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(key) // which never fails
	n := h.Sum64() ^ uint64(revision)<<1
	if deleted {
		n++
	}
	return mix(n)
}

// acknowledged records a write of the key at the revision.
func (p *mixPrefix) acknowledged(key []byte, revision int64, deleted bool) {
	p.wrote.Add(fingerprint(key, revision, deleted))
	p.writes.Add(1)
}

// sending numbers a value before it is sent.
func (m *mixLoad) sending(value []byte) {
	n := m.puts.Add(1) - 1
	numberValue(value, n)
	if n < uint64(len(m.sent)) {
		m.sent[n].Store(time.Now().UnixNano())
	}
}

// follow receives the events of p until ctx ends.
func (m *mixLoad) follow(ctx context.Context, p *mixPrefix) error {
	for {
		if err := p.stream.stream.RecvMsg(&p.stream.buf); err != nil {
			return unlessOver(ctx, err)
		}
		now := time.Now()
		a, err := scanWatch(p.stream.buf.data, func(_ int64, e watchEvent) error { return m.event(p, e, now) })
		if err != nil {
			return err
		}
		if a.canceled {
			return errors.New("the server canceled a watcher")
		}
	}
}

func (m *mixLoad) event(p *mixPrefix, e watchEvent, now time.Time) error {
	if e.modRevision <= p.revision {
		return fmt.Errorf("an event of revision %d after %d", e.modRevision, p.revision)
	}
	p.revision = e.modRevision
	if created := !e.deleted && e.createRevision == e.modRevision; created == e.hasPrev {
		return fmt.Errorf("the event of revision %d: created %t, with the previous value %t", e.modRevision,
			created, e.hasPrev)
	}
	p.received += fingerprint(e.key, e.modRevision, e.deleted)
	p.events.Add(1)
	if e.deleted {
		return nil
	}
	if len(e.value) != valueSize {
		return fmt.Errorf("an event with %d bytes of value", len(e.value))
	}
	if n := valueNumber(e.value); n < uint64(len(m.sent)) {
		if sent := time.Unix(0, m.sent[n].Load()); m.measured.holds(sent) {
			p.latencies = append(p.latencies, now.Sub(sent))
		}
	}
	return nil
}

// wait returns when the number of events has reached the number of acknowledged writes.
func (m *mixLoad) wait(ctx context.Context) error {
	return m.slot.arrival(ctx, func() (missing int64) {
		for n := range m.prefixes {
			missing += m.prefixes[n].writes.Load() - m.prefixes[n].events.Load()
		}
		return missing
	})
}
