package logstructured

import (
	"maps"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// ExportedLease is a lease, its TTL and how much of that is left, at least 1, in seconds.
type ExportedLease struct {
	ID             LeaseID
	TTL, Remaining int64
}

// keepAliveGrace is how much of a lease is left at least in an export, if it is that long: as with a new leader of an
// etcd, its holder could not keep it alive meanwhile. It is the interval at which etcd writes down how much is left of
// longer ones.
const keepAliveGrace = 300

// leaseEnds is what only the writer knows of leases and TTLs, copied.
type leaseEnds struct {
	// own are the leases of [LeaseModeEtcd].
	own []ExportedLease
	// now is the clock, and rows say when TTLs end, in [LeaseModeTTL]. A row that is not there was written just now.
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
			left := max(x.remaining(l)+1, min(l.ttl, keepAliveGrace)) // it is rounded down
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

// leases returns those that an export has. In [LeaseModeTTL] that is one for each TTL of a live key, with the TTL as
// its ID, as the keys say; it lasts as long as the last of them.
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
