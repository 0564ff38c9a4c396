package logstructured

import (
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// heartbeatInterval is how often a replica sends a heartbeat. replicaTTL is how long it counts as running after
	// that.
	heartbeatInterval = 3 * time.Second
	replicaTTL        = 10 * time.Second
)

// forgetAfter is how long a replica must have been silent before its registration is removed.
const forgetAfter = 10 * replicaTTL

// presences determines from heartbeats which replicas are running. The times of heartbeats are the database's, and its
// clock may be set meanwhile: the last heartbeat of a killed replica may lie in the future for an hour. A replica
// therefore counts as running while its heartbeats change, within a time that this process measures with its monotonic
// clock.
type presences struct {
	byID map[uint64]presence
	// lastRead is when the heartbeats were last read.
	lastRead time.Time
}

// presence is the newest heartbeat of a replica.
type presence struct {
	seen log.Timestamp
	// readAt is when this process first read it, and age is its age at that time.
	readAt time.Time
	age    time.Duration
}

// update records the registered replicas, as read at the local time local when the database's clock showed now. It
// returns the running replicas, and those that have been silent for long enough to be forgotten.
func (p *presences) update(all []log.Replica, self uint64, now log.Timestamp, local time.Time) (
	running, forgotten []log.Replica,
) {
	byID := make(map[uint64]presence, len(all))
	for _, r := range all {
		newest, known := p.byID[r.ID]
		if !known || newest.seen != r.Seen {
			newest = presence{r.Seen, local, p.age(r.Seen, now, local, known)}
		}
		byID[r.ID] = newest
		silent := local.Sub(newest.readAt)
		switch {
		case r.ID == self || silent+newest.age <= replicaTTL:
			running = append(running, r)
		case silent > forgetAfter:
			forgotten = append(forgotten, r)
		}
	}
	p.byID, p.lastRead = byID, local
	return slices.Clip(running), forgotten
}

// age returns the age of a heartbeat that is new to this process. A heartbeat that follows another one of the same
// replica was sent after that one was read, whatever the clock shows. The first heartbeat of a replica counts only if
// it is recent by the clock; otherwise the next one will show that the replica is running.
func (p *presences) age(seen, now log.Timestamp, local time.Time, followsAnother bool) time.Duration {
	age := time.Duration(now-seen) * time.Millisecond
	switch {
	case followsAnother:
		return min(max(age, 0), local.Sub(p.lastRead))
	case age.Abs() > replicaTTL:
		return replicaTTL + 1
	}
	return max(age, 0)
}
