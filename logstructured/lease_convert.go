package logstructured

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// claimLeaseMode records the mode in an empty log, and returns an error if the log has another mode. st was read from
// the log before; claimLeaseMode returns the content after the claim.
func claimLeaseMode(ctx context.Context, l log.Log, st *state, mode LeaseMode) (loaded, error) {
	if st.head != (log.Head{}) {
		return loaded{}, leaseModeMismatch(st.mode, mode)
	}
	claim := []log.Entry{recordEntry(st.revision, recordLeaseMode, []byte(mode))}
	// Another replica that starts for the first time may do the same. The mode that the log then holds counts.
	err := l.Append(ctx, log.Head{}, newAppendID(newReplicaTag()), claim)
	if err != nil && !errors.Is(err, log.ErrConflict) {
		return loaded{}, fmt.Errorf("%w (record the lease mode)", err)
	}
	content, err := loadServed(ctx, l)
	if err == nil && content.st.mode != mode {
		err = leaseModeMismatch(content.st.mode, mode)
	}
	return content, err
}

// ConvertLeases converts all leases to another mode and returns the number of keys that have one. Afterwards the store
// must not be used for anything else, and no other process may serve the log meanwhile.
//
//   - To [LeaseModeEtcd]: each TTL in use becomes a lease with that ID and TTL, granted now, to which all its keys
//     belong. No key expires earlier than it would have.
//   - To [LeaseModeTTL]: each key that has a lease is written again, with the remaining time of its lease as its TTL,
//     all of them in one revision.
func (s *Store) ConvertLeases(ctx context.Context, to LeaseMode) (keys int, err error) {
	if err := to.Valid(); err != nil {
		return 0, err
	}
	return update(ctx, s, call{guard: Unguarded}, func(ev *evaluation) (int, error) {
		switch {
		case ev.st.mode == to:
			return 0, nil
		case to == LeaseModeEtcd:
			return ev.convertToEtcd(), nil
		default:
			return ev.convertToTTL()
		}
	})
}

func (ev *evaluation) convertToEtcd() (keys int) {
	ttls := map[LeaseID]bool{}
	ev.st.keys.Scan(func(ki *keyIndex) bool {
		if lease := ki.newest().lease; lease != 0 {
			ttls[lease] = true
			keys++
		}
		return true
	})
	ev.record(RecordChange{Name: recordLeaseMode, Value: []byte(LeaseModeEtcd)})
	for ttl := range ttls {
		ev.grant(ttl, int64(ttl))
	}
	return keys
}

func (ev *evaluation) convertToTTL() (keys int, err error) {
	var puts []log.Entry
	for _, id := range ev.st.leaseIDs() {
		left := LeaseID(max(1, ev.leases.remaining(ev.st.lease(id))))
		for _, key := range ev.st.keysOf(id) {
			r := ev.newest([]byte(key))
			value, err := ev.values.load(ev.ctx, r)
			if err != nil {
				return 0, err
			}
			puts = append(puts, log.Entry{
				Kind: log.KindPut, Key: r.key, Value: value, Lease: left,
				CreateRevision: r.create, Version: r.version + 1,
			})
		}
	}
	ev.record(RecordChange{Name: recordLeaseMode, Value: []byte(LeaseModeTTL)})
	for _, id := range ev.st.leaseIDs() {
		ev.writeControl(log.Entry{Kind: log.KindLease, Revision: ev.st.revision, Lease: id})
	}
	for _, e := range puts {
		ev.write(e)
	}
	return len(puts), nil
}
