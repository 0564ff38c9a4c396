package crash

import (
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// expirySlack is how late an expired key may be deleted while its server is killed every second or two.
const expirySlack = 6 * time.Second

// linearTimeout bounds the linearizability check of one window.
const linearTimeout = 60 * time.Second

// Check runs all checkers. It writes visualizations of windows that are not linearizable to the directory artifacts,
// unless that is empty.
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
	slack := rec.slack
	if slack == 0 {
		slack = expirySlack
	}
	gone := firstSeen(rec)
	for _, k := range rec.leased {
		at, deleted := gone[k.key]
		// A key lives from its put; an etcd lease lives from its grant or its last keep-alive.
		from := k.called
		if !rec.onTime {
			from = k.granted
		}
		switch {
		case !deleted && k.acknowledged:
			report.violate("leased key %q was never deleted", k.key)
		case deleted && k.revoked:
		case deleted && at < from+k.ttl:
			report.violate("leased key %q was deleted after %v, before its TTL of %v", k.key, at-from, k.ttl)
		case deleted && rec.onTime && at > k.acked+k.ttl+slack:
			report.violate("leased key %q was deleted %v after its put, its TTL is %v", k.key, at-k.acked, k.ttl)
		}
	}
}

// firstSeen returns when the first of all watchers saw the deletion of each leased key. The complete watch may be
// connected to a server that lags behind.
func firstSeen(rec *Recorded) map[string]time.Duration {
	gone := map[string]time.Duration{}
	for _, s := range rec.Streams {
		for _, session := range s.Sessions {
			for _, r := range session.Responses {
				for _, e := range r.Response.Events {
					key := string(e.Kv.Key)
					if at, ok := gone[key]; e.Type == mvccpb.Event_DELETE && strings.HasPrefix(key, leasePrefix) &&
						(!ok || r.At < at) {
						gone[key] = r.At
					}
				}
			}
		}
	}
	return gone
}

// String summarizes a run in one line.
func (r *Report) String() string {
	return fmt.Sprintf("operations %d, acknowledged writes %d, reads %d, rejected %d, unknown %d (applied %d), "+
		"expired %d, lost %d, doubled %d, watch violations %d", r.Ops, r.AckedWrites, r.Reads, r.Rejected, r.Unknown,
		r.UnknownApplied, r.Expired, r.Lost, r.Doubled, r.WatchViolations)
}
