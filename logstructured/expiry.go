package logstructured

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// outage is how long nothing may be looked after until that counts as an outage: less than the shortest interval of
// keep-alives would be no danger to a lease.
const outage = 2 * time.Second

// expiry knows what expires next. Only the writer uses it, and only for what is in the log: nothing of it is ever
// undone.
type expiry struct {
	clock
	mode LeaseMode
	// rows are those of LeaseModeTTL that have a deadline.
	rows deadlines[*row]
	// terms are those of the leases of LeaseModeEtcd, due the deadlines at which it is worth looking at one: a lease
	// may have been kept alive since.
	terms map[LeaseID]*term
	due   deadlines[dueLease]
	// shrinkAt is the length of rows, or of due, from which on it is worth looking for what was superseded.
	shrinkAt int
	// looked is when it was last looked after what is due, and since the time on the clock since when that was always
	// done: who holds a lease has had no service before.
	looked time.Time
	since  log.Timestamp
	// dead are the positions of entries of which nothing is left that was not renewed or revoked since.
	dead []log.Position
}

// term is how long a lease lasts.
type term struct {
	ttl      log.Timestamp // milliseconds
	deadline log.Timestamp
	// granted is the position of the grant.
	granted log.Position
	// renewal is the entry that kept it alive, nil since the grant.
	renewal *renewal
}

// renewal is an entry that kept leases alive, live of them until the deadline that they have.
type renewal struct {
	position log.Position
	live     int
}

type dueLease struct {
	id LeaseID
	at log.Timestamp
}

func (d dueLease) end() log.Timestamp { return d.at }

func (r *row) end() log.Timestamp { return r.deadline }

// deadlines is a heap of what ends. What was superseded stays until its deadline.
type deadlines[T interface{ end() log.Timestamp }] []T

func (d deadlines[T]) Len() int           { return len(d) }
func (d deadlines[T]) Less(i, j int) bool { return d[i].end() < d[j].end() }
func (d deadlines[T]) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines[T]) Push(item any)     { *d = append(*d, item.(T)) }
func (d *deadlines[T]) Pop() any {
	last := len(*d) - 1
	item := (*d)[last]
	var none T
	(*d)[last] = none
	*d = (*d)[:last]
	return item
}

// next takes what is due first, if it is.
func (d *deadlines[T]) next(now log.Timestamp) (item T, ok bool) {
	if len(*d) == 0 || (*d)[0].end() > now {
		return item, false
	}
	return heap.Pop(d).(T), true
}

// leastShrink is the number of deadlines below which nothing is shrunk.
const leastShrink = 4096

// shrink drops the deadlines of what was superseded, once they may be half of all: a client that writes one key again
// and again with a long TTL would leave a row for each write until its deadline. current reports whether a row is its
// key's newest.
func (x *expiry) shrink(current func(*row) bool) {
	if len(x.rows)+len(x.due) < max(x.shrinkAt, leastShrink) {
		return
	}
	x.rows = slices.Clone(slices.DeleteFunc(x.rows, func(r *row) bool { return !current(r) }))
	heap.Init(&x.rows)
	x.due = make(deadlines[dueLease], 0, len(x.terms))
	for id, t := range x.terms {
		x.due = append(x.due, dueLease{id, t.deadline})
	}
	heap.Init(&x.due)
	x.shrinkAt = 2 * (len(x.rows) + len(x.due))
}

// note takes from an entry of the log, whose row is r if it is of a key, what it says of deadlines. The entry was not
// appended before the local time since (zero: nobody knows).
func (x *expiry) note(e *log.Entry, r *row, since time.Time) {
	if r == nil {
		x.control(e, since)
	} else if x.mode != LeaseModeEtcd {
		x.addRow(r, x.adjusted(e.Time, since))
	}
}

// addRow notes when r, which was appended at a time on the clock, expires in LeaseModeTTL.
func (x *expiry) addRow(r *row, appended log.Timestamp) {
	if r.lease != 0 && x.mode != LeaseModeEtcd {
		r.deadline = appended + log.Timestamp(r.lease)*1000
		heap.Push(&x.rows, r)
	}
}

func (x *expiry) control(e *log.Entry, since time.Time) {
	switch e.Kind {
	case log.KindRecord:
		if string(e.Key) == recordLeaseMode {
			x.mode, x.rows = LeaseMode(e.Value), nil
		}
	case log.KindLease:
		x.forget(e.Lease)
		if e.Version != 0 {
			t := &term{ttl: log.Timestamp(e.Version) * 1000, granted: e.Position}
			t.deadline = x.adjusted(e.Time, since) + t.ttl
			if x.terms == nil {
				x.terms = map[LeaseID]*term{}
			}
			x.terms[e.Lease] = t
			heap.Push(&x.due, dueLease{e.Lease, t.deadline})
		}
	case log.KindKeepAlive:
		x.renew(e, since)
	}
}

func (x *expiry) renew(e *log.Entry, since time.Time) {
	from := x.adjusted(e.Time, since)
	r := &renewal{position: e.Position}
	for ids := e.Value; len(ids) >= 8; ids = ids[8:] {
		if t := x.terms[LeaseID(binary.BigEndian.Uint64(ids))]; t != nil {
			x.release(t)
			t.deadline, t.renewal = max(t.deadline, from+t.ttl), r
			r.live++
		}
	}
	if r.live == 0 {
		x.dead = append(x.dead, r.position)
	}
}

// forget drops a lease that is no more.
func (x *expiry) forget(id LeaseID) {
	if t := x.terms[id]; t != nil {
		x.release(t)
		delete(x.terms, id)
	}
}

// release says that the entry which kept a lease alive is not needed any more for it.
func (x *expiry) release(t *term) {
	if t.renewal == nil {
		return
	}
	if t.renewal.live--; t.renewal.live == 0 {
		x.dead = append(x.dead, t.renewal.position)
	}
}

// served says that what is due is looked after at a local time. If that was not so for a while, who holds a lease gets
// its whole TTL to keep it alive.
func (x *expiry) served(local time.Time) {
	if x.looked.IsZero() || local.Sub(x.looked) > outage {
		x.since = x.reading(local)
	}
	x.looked = local
}

// end is when a lease ends.
func (x *expiry) end(t *term) log.Timestamp { return max(t.deadline, x.since+t.ttl) }

// remaining returns how long a lease lasts from now on, in seconds, rounded down. That is always less than its TTL, as
// in etcd: some time has passed since the grant, if less than the clock shows, which may also lag behind the
// database's.
func (x *expiry) remaining(l *lease) int64 {
	t := x.terms[l.id]
	if t == nil { // granted in the same append
		return l.ttl - 1
	}
	left := min(x.end(t)-x.reading(time.Now()), t.ttl) - 1
	return int64(max(0, left)) / 1000
}

// compare orders leases by their ends, and those that end in the same millisecond by their grants.
func (x *expiry) compare(a, b LeaseID) int {
	s, t := x.terms[a], x.terms[b]
	switch {
	case s == nil && t == nil:
		return 0
	case s == nil: // granted in this very append, after all others
		return 1
	case t == nil:
		return -1
	}
	return cmp.Or(cmp.Compare(x.end(s), x.end(t)), cmp.Compare(s.granted, t.granted))
}
