package logstructured

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// sweep expires keys or leases and drops outdated deadlines and history, in bounded steps. It returns how long the next
// sweep may wait. It costs almost nothing if there is nothing to do.
func (w *writer) sweep(ctx context.Context) time.Duration {
	next := w.pollInterval()
	if w.health.answers() {
		w.leases.served(time.Now())
		if w.expire(ctx) {
			next = 0
		}
		w.probe(ctx)
	}
	w.leases.shrink(func(r *row) bool {
		ki := w.st.get(r.key)
		return ki != nil && ki.newest().position == r.position
	})
	w.cutHistory()
	return next
}

// maxExpireBatch bounds the keys, or in [LeaseModeEtcd] the leases, that one append of the sweep expires.
const maxExpireBatch = 1000

// expire expires all keys or leases whose deadline has passed on the database's clock. It appends like any write: if
// several processes sweep at once, one append succeeds and the other ones conflict. It reports whether more may be due
// already.
func (w *writer) expire(ctx context.Context) (more bool) {
	if w.alarms.Of(Records{&w.published.control}).corrupt {
		return false // until an operator has cleared the alarm
	}
	if w.st.mode == LeaseModeEtcd {
		return w.expireLeases(ctx)
	}
	return w.expireKeys(ctx)
}

// expireKeys deletes the keys whose TTL has passed, in one revision.
func (w *writer) expireKeys(ctx context.Context) (more bool) {
	var due []*row
	now := w.leases.reading(time.Now())
	for len(due) < maxExpireBatch {
		r, ok := w.leases.rows.next(now)
		if !ok {
			break
		}
		if ki := w.st.get(r.key); ki != nil && ki.newest().position == r.position {
			due = append(due, r)
		}
	}
	if len(due) == 0 {
		return false
	}
	slices.SortFunc(due, func(a, b *row) int { return bytes.Compare(a.key, b.key) })
	expired := 0
	err := w.commitOne(ctx, func(ev *evaluation) error {
		expired = 0
		for _, r := range due {
			if newest := ev.newest(r.key); newest != nil && newest.position == r.position {
				ev.write(log.Entry{Kind: log.KindTombstone, Key: r.key})
				expired++
			}
		}
		return nil
	})
	if err != nil {
		for _, r := range due {
			heap.Push(&w.leases.rows, r)
		}
		return false
	}
	w.metrics.expired.Add(float64(expired))
	return len(due) == maxExpireBatch
}

// expireLeases revokes the leases that have ended, each in a revision of its own, as if its holder had revoked it.
func (w *writer) expireLeases(ctx context.Context) (more bool) {
	var due []LeaseID
	now := w.leases.reading(time.Now())
	for len(due) < maxExpireBatch {
		d, ok := w.leases.due.next(now)
		if !ok {
			break
		}
		if t := w.leases.countdowns[d.id]; t == nil {
			continue
		} else if end := w.leases.end(t); end > now {
			heap.Push(&w.leases.due, dueLease{d.id, end})
			continue
		}
		due = append(due, d.id)
	}
	if len(due) == 0 {
		return false
	}
	more = len(due) == maxExpireBatch
	expired := make([]int, len(due))
	revocations := make([]func(*evaluation) error, len(due))
	for i, id := range due {
		revocations[i] = func(ev *evaluation) error {
			expired[i] = 0
			// Another process may have revoked the lease, or kept it alive, before this append.
			if t := w.leases.countdowns[id]; t != nil && w.leases.end(t) <= now && ev.st.lease(id) != nil {
				expired[i] = ev.revoke(id)
			}
			return nil
		}
	}
	for i, err := range w.commitAll(ctx, revocations) {
		if t := w.leases.countdowns[due[i]]; t != nil {
			heap.Push(&w.leases.due, dueLease{due[i], w.leases.end(t)})
		}
		if err == nil {
			w.metrics.expired.Add(float64(expired[i]))
		} else {
			more = false
		}
	}
	return more
}

// probe checks by a write whether the database accepts writes again. Its entry keeps alive leases that do not exist: it
// changes nothing, and becomes garbage that is deleted with the next compaction.
func (w *writer) probe(ctx context.Context) {
	r := &w.refusals
	refused := r.current.Load()
	if refused == nil || time.Since(r.probedAt) < probeInterval {
		return
	}
	size := 8 // one lease ID: an entry without any counts as damaged
	if refused.full() {
		size = roomForWrites
	}
	noLeases := make([]byte, 0, size)
	for len(noLeases) < size { // random: the database may compress values
		noLeases = binary.BigEndian.AppendUint64(noLeases, 1<<63|rand.Uint64())
	}
	_ = w.commitOne(ctx, func(ev *evaluation) error {
		ev.writeControl(log.Entry{Kind: log.KindKeepAlive, Revision: ev.st.revision, Value: noLeases})
		return nil
	})
	r.probedAt = time.Now()
}
