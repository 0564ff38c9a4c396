package logstructured

import (
	"fmt"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// TestExpiryDropsSupersededDeadlines bounds the deadlines by the number of keys and leases, however often they were
// written or granted.
func TestExpiryDropsSupersededDeadlines(t *testing.T) {
	const often = 10 * leastShrink
	st := newState()
	apply := func(x *expiry, e log.Entry) {
		e.Position, e.ID = st.head.Position+1, 1
		x.note(&e, st.apply(&e), time.Time{})
		x.shrink(func(r *row) bool { return st.get(r.key).newest() == r })
	}
	var keys expiry
	for i := range often {
		apply(&keys, log.Entry{
			Kind: log.KindPut, Key: fmt.Appendf(nil, "key-%d", i%10), Lease: LeaseID(1000 + i%10),
			Revision: st.revision + 1, CreateRevision: 1, Version: 1,
		})
	}
	if len(keys.rows) > leastShrink {
		t.Errorf("%d rows wait for their deadline", len(keys.rows))
	}
	leases := expiry{mode: LeaseModeEtcd}
	for i := range often {
		apply(&leases, log.Entry{Kind: log.KindLease, Lease: LeaseID(i + 1), Version: 1000})
		if i > 9 {
			apply(&leases, log.Entry{Kind: log.KindLease, Lease: LeaseID(i - 9)})
		}
	}
	if len(leases.due) > leastShrink {
		t.Errorf("%d leases wait for their deadline", len(leases.due))
	}
	// What is left still ends, in its order.
	for name, count := range map[string]func(log.Timestamp) bool{
		"keys": func(now log.Timestamp) bool {
			_, ok := keys.rows.next(now)
			return ok
		},
		"leases": func(now log.Timestamp) bool {
			_, ok := leases.due.next(now)
			return ok
		},
	} {
		n := 0
		for count(1 << 60) {
			n++
		}
		if n < 10 {
			t.Errorf("%d %s are left", n, name)
		}
	}
	for id := range LeaseID(10) {
		if leases.countdowns[often-id] == nil {
			t.Errorf("lease %d is gone", often-id)
		}
	}
}
