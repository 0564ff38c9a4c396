package logstructured

import "context"

// The methods below are for copies of a log, or of another store: they return what a copy needs besides the history.

// LeaseMode returns the lease mode of the exported log.
func (x *Export) LeaseMode() LeaseMode { return x.Records.c.mode }

// Keys returns the number of live keys.
func (x *Export) Keys() int {
	live := map[string]struct{}{}
	for _, r := range x.rows {
		if r.tombstone() {
			delete(live, string(r.key))
		} else {
			live[string(r.key)] = struct{}{}
		}
	}
	return len(live)
}

// Settings returns the records that a copy takes over: all but those that describe the log itself.
func (r Records) Settings() (changes []RecordChange) {
	r.Ascend("", func(name string, value []byte) bool {
		if name != recordLeaseMode && name != recordImport {
			changes = append(changes, RecordChange{Name: name, Value: value})
		}
		return true
	})
	return changes
}

// LiveLeases returns the leases of the keys that are live after the last write, each once and in no order. It reads the
// metadata of the whole log.
func (m *Import) LiveLeases(ctx context.Context) ([]LeaseID, error) {
	if err := m.Flush(ctx); err != nil {
		return nil, err
	}
	content, err := loadLog(ctx, m.log)
	if err != nil {
		return nil, err
	}
	found := map[LeaseID]bool{}
	var leases []LeaseID
	content.st.keys.Scan(func(ki *keyIndex) bool {
		if id := ki.newest().lease; id != 0 && !found[id] {
			found[id] = true
			leases = append(leases, id)
		}
		return true
	})
	return leases, nil
}
