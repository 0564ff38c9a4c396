package logstructured

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// outage is the gap between two sweeps after which all leases are extended. A gap shorter than the shortest interval of
// keep-alives would not endanger a lease.
const outage = 2 * time.Second

// expiry holds the deadlines of leases and TTLs. Only the writer uses it, and only for entries that are in the log, so
// none of its changes is ever rolled back.
type expiry struct {
	clock
	mode LeaseMode
	// rows holds the rows that have a deadline, in LeaseModeTTL.
	rows deadlines[*row]
	// countdowns holds all leases, in LeaseModeEtcd. due holds the times at which to check a lease: it may have
	// been kept alive since.
	countdowns map[LeaseID]*countdown
	due        deadlines[dueLease]
	// shrinkAt is the number of deadlines in rows and due at which shrink drops superseded ones.
	shrinkAt int
	// sweptAt is the local time of the last sweep. since is the time on the clock from which sweeps have been
	// continuous: before it, a client could not keep a lease alive, so no lease ends before since plus its TTL.
	sweptAt time.Time
	since   log.Timestamp
	// dead holds the positions of keep-alive entries that are garbage: each of their leases was kept alive again or
	// revoked.
	dead []log.Position
}

// countdown holds the TTL and the deadline of a lease.
type countdown struct {
	ttl      log.Timestamp // milliseconds
	deadline log.Timestamp
	// granted is the position of the grant.
	granted log.Position
	// keptBy is the entry that last kept the lease alive, nil if none did.
	keptBy *keepAlive
}

// keepAlive is a keep-alive entry. live is the number of leases whose deadline still comes from it.
type keepAlive struct {
	position log.Position
	live     int
}

type dueLease struct {
	id LeaseID
	at log.Timestamp
}

func (d dueLease) end() log.Timestamp { return d.at }

func (r *row) end() log.Timestamp { return r.deadline }

// deadlines is a heap of items, ordered by deadline. A superseded item stays in it until its deadline.
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

// next removes and returns the item with the earliest deadline if it is due.
func (d *deadlines[T]) next(now log.Timestamp) (item T, ok bool) {
	if len(*d) == 0 || (*d)[0].end() > now {
		return item, false
	}
	return heap.Pop(d).(T), true
}

// leastShrink is the number of deadlines below which nothing is shrunk.
const leastShrink = 4096

// shrink drops superseded deadlines once they may be half of all. A client that writes one key repeatedly with a long
// TTL would otherwise leave a row for each write until its deadline. current reports whether a row is its key's newest.
func (x *expiry) shrink(current func(*row) bool) {
	if len(x.rows)+len(x.due) < max(x.shrinkAt, leastShrink) {
		return
	}
	x.rows = slices.Clone(slices.DeleteFunc(x.rows, func(r *row) bool { return !current(r) }))
	heap.Init(&x.rows)
	x.due = make(deadlines[dueLease], 0, len(x.countdowns))
	for id, t := range x.countdowns {
		x.due = append(x.due, dueLease{id, t.deadline})
	}
	heap.Init(&x.due)
	x.shrinkAt = 2 * (len(x.rows) + len(x.due))
}

// note updates the deadlines from an entry of the log. r is the entry's row, nil if the entry does not write a key. The
// entry was not appended before the local time since, which is zero if unknown.
func (x *expiry) note(e *log.Entry, r *row, since time.Time) {
	if r == nil {
		x.control(e, since)
	} else if x.mode != LeaseModeEtcd {
		x.addRow(r, x.adjusted(e.Time, since))
	}
}

// addRow sets the deadline of r in LeaseModeTTL. appended is the time of its append on the clock.
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
			t := &countdown{ttl: log.Timestamp(e.Version) * 1000, granted: e.Position}
			t.deadline = x.adjusted(e.Time, since) + t.ttl
			if x.countdowns == nil {
				x.countdowns = map[LeaseID]*countdown{}
			}
			x.countdowns[e.Lease] = t
			heap.Push(&x.due, dueLease{e.Lease, t.deadline})
		}
	case log.KindKeepAlive:
		x.extend(e, since)
	}
}

func (x *expiry) extend(e *log.Entry, since time.Time) {
	from := x.adjusted(e.Time, since)
	r := &keepAlive{position: e.Position}
	for ids := e.Value; len(ids) >= 8; ids = ids[8:] {
		if t := x.countdowns[LeaseID(binary.BigEndian.Uint64(ids))]; t != nil {
			x.release(t)
			t.deadline, t.keptBy = max(t.deadline, from+t.ttl), r
			r.live++
		}
	}
	if r.live == 0 {
		x.dead = append(x.dead, r.position)
	}
}

// forget drops a lease that was revoked, or that is about to be replaced.
func (x *expiry) forget(id LeaseID) {
	if t := x.countdowns[id]; t != nil {
		x.release(t)
		delete(x.countdowns, id)
	}
}

// release records that the deadline of t no longer comes from the entry that last kept the lease alive.
func (x *expiry) release(t *countdown) {
	if t.keptBy == nil {
		return
	}
	if t.keptBy.live--; t.keptBy.live == 0 {
		x.dead = append(x.dead, t.keptBy.position)
	}
}

// served records a sweep at a local time. After an outage every lease gets its whole TTL, so that its client has time
// to keep it alive.
func (x *expiry) served(local time.Time) {
	if x.sweptAt.IsZero() || local.Sub(x.sweptAt) > outage {
		x.since = x.reading(local)
	}
	x.sweptAt = local
}

// end returns the time at which a lease ends.
func (x *expiry) end(t *countdown) log.Timestamp { return max(t.deadline, x.since+t.ttl) }

// remaining returns how long a lease lasts from now on, in seconds, rounded down. The result is always less than the
// TTL, as in etcd: some time has passed since the grant, even if it is less than the clock shows. The clock may also
// lag behind the database's.
func (x *expiry) remaining(l *lease) int64 {
	t := x.countdowns[l.id]
	if t == nil { // granted in the same append
		return l.ttl - 1
	}
	left := min(x.end(t)-x.reading(time.Now()), t.ttl) - 1
	return int64(max(0, left)) / 1000
}

// compare orders leases by their ends, and leases that end in the same millisecond by their grants.
func (x *expiry) compare(a, b LeaseID) int {
	s, t := x.countdowns[a], x.countdowns[b]
	switch {
	case s == nil && t == nil:
		return 0
	case s == nil: // granted in this append, after all leases that have one
		return 1
	case t == nil:
		return -1
	}
	return cmp.Or(cmp.Compare(x.end(s), x.end(t)), cmp.Compare(s.granted, t.granted))
}
