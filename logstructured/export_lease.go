package logstructured

import (
	"maps"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// ExportedLease is a lease with its TTL and its remaining time, which is at least 1, in seconds.
type ExportedLease struct {
	ID             LeaseID
	TTL, Remaining int64
}

// keepAliveGrace is the least remaining time of a lease in an export, unless its TTL is shorter. As after a change of
// etcd's leader, the client could not keep the lease alive meanwhile. The value is the interval at which etcd stores
// the remaining time of longer leases.
const keepAliveGrace = 300

// leaseEnds is a copy of the leases and deadlines that only the writer has.
type leaseEnds struct {
	// own holds the leases of [LeaseModeEtcd].
	own []ExportedLease
	// now is the time on the clock, and rows are the deadlines of rows, in [LeaseModeTTL]. A missing row was written
	// just now.
	now  log.Timestamp
	rows []rowEnd
}

type rowEnd struct {
	row *row
	at  log.Timestamp
}

func (x *expiry) ends(c *control) leaseEnds {
	ends := leaseEnds{now: x.reading(time.Now())}
	if c.mode == LeaseModeEtcd {
		for _, id := range c.leaseIDs() {
			l := c.lease(id)
			left := max(x.remaining(l)+1, min(l.ttl, keepAliveGrace)) // remaining rounds down
			ends.own = append(ends.own, ExportedLease{ID: id, TTL: l.ttl, Remaining: min(left, l.ttl)})
		}
		return ends
	}
	ends.rows = make([]rowEnd, len(x.rows))
	for i, r := range x.rows {
		ends.rows[i] = rowEnd{r, r.deadline}
	}
	return ends
}

// leases returns the leases of an export. In [LeaseModeTTL] there is one for each TTL of a live key. Its ID is the TTL,
// as in the keys, and it lasts as long as the last of its keys.
func (e leaseEnds) leases(snap *snapshot) []ExportedLease {
	if snap.mode == LeaseModeEtcd {
		return e.own
	}
	deadlines := make(map[*row]log.Timestamp, len(e.rows))
	for _, end := range e.rows {
		deadlines[end.row] = end.at
	}
	left := map[LeaseID]int64{}
	snap.keys.Scan(func(ki *keyIndex) bool {
		if r := ki.newest(); r.lease != 0 {
			remaining := int64(r.lease)
			if deadline, ok := deadlines[r]; ok {
				remaining = min(remaining, max(1, int64(deadline-e.now+999)/1000))
			}
			left[r.lease] = max(left[r.lease], remaining)
		}
		return true
	})
	leases := make([]ExportedLease, 0, len(left))
	for _, id := range slices.Sorted(maps.Keys(left)) {
		leases = append(leases, ExportedLease{ID: id, TTL: int64(id), Remaining: left[id]})
	}
	return leases
}
