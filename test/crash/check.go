package crash

import (
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// expirySlack is how late an expired key may be deleted while its server is killed every second or two.
const expirySlack = 6 * time.Second

// linearTimeout is per window.
const linearTimeout = 60 * time.Second

// Check runs all checkers. Artifacts is a directory for visualizations of windows that are not linearizable, or empty.
func Check(rec *Recorded, artifacts string) *Report {
	report := &Report{}
	for _, fault := range rec.Faults {
		report.violate("%s", fault)
	}
	Watches(&rec.History, report)
	t := Replay(&rec.History, report)
	if t == nil {
		return report
	}
	checkExpiry(rec, report)
	Linear(&rec.History, t, linearTimeout, artifacts, report)
	return report
}

// checkExpiry compares when leased keys were deleted with their time to live.
func checkExpiry(rec *Recorded, report *Report) {
	gone := map[string]time.Duration{}
	for _, r := range rec.Full {
		for _, e := range r.Events {
			if e.Type == mvccpb.Event_DELETE {
				gone[string(e.Kv.Key)] = r.Seen
			}
		}
	}
	for _, k := range rec.leased {
		at, deleted := gone[k.key]
		// The life of the key begins at its put, that of an etcd lease at its grant.
		from := k.called
		if !rec.onTime {
			from = k.granted
		}
		switch {
		case !deleted && k.acknowledged:
			report.violate("leased key %q was never deleted", k.key)
		case deleted && at < from+k.ttl:
			report.violate("leased key %q was deleted after %v, before its TTL of %v", k.key, at-from, k.ttl)
		case deleted && rec.onTime && at > k.acked+k.ttl+expirySlack:
			report.violate("leased key %q was deleted %v after its put, its TTL is %v", k.key, at-k.acked, k.ttl)
		}
	}
}

// String is the summary of a run in one line.
func (r *Report) String() string {
	return fmt.Sprintf("operations %d, acknowledged writes %d, reads %d, rejected %d, unknown %d (applied %d), expired %d, "+
		"lost %d, doubled %d, watch violations %d", r.Ops, r.AckedWrites, r.Reads, r.Rejected, r.Unknown, r.UnknownApplied,
		r.Expired, r.Lost, r.Doubled, r.WatchViolations)
}
