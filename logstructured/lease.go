package logstructured

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// MaxLeaseTTL is the largest TTL of a lease, in seconds; etcd's.
	MaxLeaseTTL = 9_000_000_000
	// minLeaseTTL is what a smaller TTL is raised to, in seconds; etcd's with its default election timeout.
	minLeaseTTL = 2
	// maxExpireBatch bounds the keys that one revision of the sweeper deletes.
	maxExpireBatch = 1000
)

// ErrLeaseMode answers what needs leases of their own, while a lease is just a TTL here.
var ErrLeaseMode = errors.New("leases with an ID of the client's choice are not supported: in lease mode ttl the ID of a lease is its TTL")

// LeaseGrant grants a lease of ttl seconds. The lease ID is the TTL and nothing is stored: a key that is put with it expires
// ttl seconds after its last write. id must be 0 or that TTL.
func (s *Store) LeaseGrant(_ context.Context, id LeaseID, ttl int64) (*LeaseGrantResult, error) {
	if ttl > MaxLeaseTTL {
		return nil, ErrLeaseTTLTooLarge
	}
	ttl = max(ttl, minLeaseTTL)
	if id != 0 && id != LeaseID(ttl) {
		return nil, ErrLeaseMode
	}
	return &LeaseGrantResult{Revision: s.Revision(), ID: LeaseID(ttl), TTL: ttl}, nil
}

// checkLease refuses IDs that cannot be a TTL.
func (*Store) checkLease(id LeaseID) error {
	if id <= 0 || id > MaxLeaseTTL {
		return fmt.Errorf("%w: %d", ErrLeaseNotFound, id)
	}
	return nil
}

// expiry knows which rows expire next. Only the writer uses it.
type expiry struct {
	clock
	rows deadlines
}

// deadlines is a heap of the rows that have one. Rows that were superseded stay until their deadline.
type deadlines []*row

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].deadline < d[j].deadline }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(r any)        { *d = append(*d, r.(*row)) }
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	r := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return r
}

// add notes when r expires, which was appended at that time of the database's clock and not before the local time since (zero: nobody knows).
func (x *expiry) add(r *row, appended Timestamp, since time.Time) {
	if r.lease != 0 {
		r.deadline = x.adjusted(appended, since) + Timestamp(r.lease)*1000
		heap.Push(&x.rows, r)
	}
}

// expire deletes the keys whose deadline has passed on the database's clock, in one revision. It goes through an append like
// any write: of several processes that sweep, one is first.
func (w *writer) expire(ctx context.Context) {
	var due []*row
	now := w.leases.reading(time.Now())
	for len(w.leases.rows) > 0 && w.leases.rows[0].deadline <= now && len(due) < maxExpireBatch {
		r := heap.Pop(&w.leases.rows).(*row)
		if ki := w.st.get(r.key); ki != nil && ki.newest().position == r.position {
			due = append(due, r)
		}
	}
	if len(due) == 0 {
		return
	}
	slices.SortFunc(due, func(a, b *row) int { return bytes.Compare(a.key, b.key) })
	expired := 0
	bounded, cancel := context.WithTimeout(ctx, w.store.opts.RequestTimeout)
	defer cancel()
	r := &request{ctx: bounded, done: make(chan error, 1), evaluate: func(s *step) error {
		expired = 0
		for _, r := range due {
			if newest := s.newest(r.key); newest != nil && newest.position == r.position {
				s.write(Entry{Kind: KindTombstone, Key: r.key})
				expired++
			}
		}
		return nil
	}}
	w.commit(ctx, []*request{r})
	if err := <-r.done; err != nil {
		for _, r := range due {
			heap.Push(&w.leases.rows, r)
		}
		return
	}
	w.store.metrics.expired.Add(float64(expired))
}
