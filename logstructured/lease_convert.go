package logstructured

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// claimLeaseMode records the mode in an empty log, and returns an error if the log has another mode. st was read from
// the log before; claimLeaseMode returns the state after the claim.
func claimLeaseMode(ctx context.Context, l log.Log, st *state, mode LeaseMode) (*state, expiry, error) {
	if st.head != (log.Head{}) {
		return nil, expiry{}, leaseModeMismatch(st.mode, mode)
	}
	claim := []log.Entry{{Kind: log.KindRecord, Revision: st.revision, Key: []byte(recordLeaseMode), Value: []byte(mode), Version: 1}}
	// Another replica that starts for the first time may do the same. The mode that the log then holds counts.
	err := l.Append(ctx, log.Head{}, newAppendID(newReplicaTag()), claim)
	if err != nil && !errors.Is(err, log.ErrConflict) {
		return nil, expiry{}, fmt.Errorf("%w (record the mode of leases)", err)
	}
	st, leases, _, err := loadServed(ctx, l)
	if err == nil && st.mode != mode {
		err = leaseModeMismatch(st.mode, mode)
	}
	return st, leases, err
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
	err = s.write(ctx, 0, func(st *step) error {
		switch {
		case st.st.mode == to:
			return nil
		case to == LeaseModeEtcd:
			keys = st.convertToEtcd()
			return nil
		default:
			keys, err = st.convertToTTL(s.writer.leases.remaining)
			return err
		}
	})
	return keys, err
}

func (s *step) convertToEtcd() (keys int) {
	ttls := map[LeaseID]bool{}
	s.st.keys.Scan(func(ki *keyIndex) bool {
		if lease := ki.newest().lease; lease != 0 {
			ttls[lease] = true
			keys++
		}
		return true
	})
	s.record(RecordChange{Name: recordLeaseMode, Value: []byte(LeaseModeEtcd)})
	for ttl := range ttls {
		s.grant(ttl, int64(ttl))
	}
	return keys
}

func (s *step) convertToTTL(remaining func(*lease) int64) (keys int, err error) {
	var puts []log.Entry
	for _, id := range s.st.leaseIDs() {
		left := LeaseID(max(1, remaining(s.st.lease(id))))
		for _, key := range s.st.keysOf(id) {
			r := s.newest([]byte(key))
			value, err := s.values.load(s.ctx, r)
			if err != nil {
				return 0, err
			}
			puts = append(puts, log.Entry{Kind: log.KindPut, Key: r.key, Value: value, Lease: left, CreateRevision: r.create, Version: r.version + 1})
		}
	}
	s.record(RecordChange{Name: recordLeaseMode, Value: []byte(LeaseModeTTL)})
	for _, id := range s.st.leaseIDs() {
		s.writeControl(log.Entry{Kind: log.KindLease, Revision: s.st.revision, Lease: id})
	}
	for _, e := range puts {
		s.write(e)
	}
	return len(puts), nil
}
