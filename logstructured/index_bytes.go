package logstructured

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// What the parts of the index take up in memory, in bytes, with the slack of slices that grow and of tree nodes that
// are not full. TestIndexBytes compares the sum with the heap.
const (
	// rowMemory is a row, and the pointers to it from its key, the history and the garbage.
	rowMemory = 136
	// keyMemory is a keyIndex without its rows, and its place in the tree.
	keyMemory = 72
	// deadMemory is the place of a deleted key in the tree of these.
	deadMemory = 16
	// leaseMemory is a lease with its term and deadline, attachmentMemory one of its keys.
	leaseMemory      = 128
	attachmentMemory = 40
	// recordMemory is a record without its name and value.
	recordMemory = 80
)

// footprint counts what the index holds beside what its trees know themselves.
type footprint struct {
	// rowCount is the number of rows of all keys, keyBytes the memory of the keys themselves.
	rowCount, keyBytes int64
	// tombstones is the number of rows that are tombstones.
	tombstones int64
	// recordBytes is the memory of records.
	recordBytes int64
	// lagging is the memory of rows that were dropped from the index and are still part of the history.
	lagging int64
}

// memoryOf is what n bytes take up in an allocation of their own.
func memoryOf(n int) int64 {
	const page = 8 << 10
	return int64(n + min(n/16, page/2) + 8)
}

func memoryOfRecord(r *record) int64 {
	return recordMemory + memoryOf(len(r.name)) + memoryOf(len(r.value))
}

// indexBytes estimates the memory of everything that grows with the number of keys, revisions, leases and records.
// Cached values are not part of it.
func (s *snapshot) indexBytes() int64 {
	bytes := s.rowCount*rowMemory + s.keyBytes + s.recordBytes + s.lagging
	bytes += int64(s.keys.Len())*keyMemory + int64(s.dead.Len())*deadMemory
	if s.leases != nil {
		bytes += int64(s.leases.Len()) * leaseMemory
	}
	if s.attached != nil {
		bytes += int64(s.attached.Len()) * attachmentMemory
	}
	return bytes
}

// smallGrowth is the growth up to which a request may take the index beyond its limit, by the part indexReserve of
// that.
const (
	smallGrowth  = 1 << 10
	indexReserve = 16
)

// indexFull reports whether growth more bytes are beyond a limit. Tombstones do not count: deleting makes room, by a
// compaction at a later revision. Small requests have a reserve, for the write without which there would be no later
// revision.
func (s *snapshot) indexFull(growth int, limit int64) bool {
	if growth <= smallGrowth {
		limit += limit / indexReserve
	}
	return s.indexBytes()-s.tombstones*rowMemory+int64(growth) > limit
}

// dropped takes rows of one key out of the account, all of which are gone from the index, and the key with them if
// last.
func (st *state) dropped(rows []*row, last bool) {
	st.rowCount -= int64(len(rows))
	if len(rows) == 0 {
		return
	}
	for _, r := range rows {
		if r.tombstone() {
			st.tombstones--
		}
		if r.revision >= st.start {
			st.lagging += rowMemory
		}
	}
	if last {
		key := memoryOf(len(rows[0].key))
		st.keyBytes -= key
		if rows[len(rows)-1].revision >= st.start {
			st.lagging += key
		}
	}
}

// errIndexFull refuses a write because of the memory of this replica.
var errIndexFull = fmt.Errorf("%w: the index has reached its limit", log.ErrNoSpace)

// reportFull raises the alarm if err is that the index is full, and returns err. The alarm stops the writes of all
// replicas, which hold the same index.
func (s *Store) reportFull(ctx context.Context, err error) error {
	if errors.Is(err, errIndexFull) {
		s.raiseNoSpace(ctx, "the index takes up as much memory as it may: "+
			"delete keys and compact, or raise --max-index-bytes, and disarm the alarm")
	}
	return err
}

// raiseNoSpace raises the alarm that refuses what needs more room, unless it is raised.
func (s *Store) raiseNoSpace(ctx context.Context, why string) {
	if s.alarms.Of(s.Records()).noSpace {
		return
	}
	s.members.mu.Lock()
	self := s.members.self.ID
	s.members.mu.Unlock()
	raised, _, err := s.raise(ctx, Alarm{AlarmNoSpace, self})
	logger := s.logger.WithFields(logrus.Fields{
		"index-bytes": s.IndexBytes(), "max-index-bytes": s.opts.MaxIndexBytes, "quota": s.quota.bytes,
	})
	switch {
	case err != nil:
		logger.WithError(err).Warn("could not raise the alarm NOSPACE: " + why)
	case raised:
		logger.Warn(why)
	}
}

// Room returns [log.ErrNoSpace] if the index is beyond its limit, and raises the alarm. It is for records, which are small
// and few.
func (s *Store) Room(ctx context.Context) error {
	if s.opts.MaxIndexBytes <= 0 || !s.snapshot().indexFull(0, s.opts.MaxIndexBytes) {
		return nil
	}
	return s.reportFull(ctx, errIndexFull)
}

// IndexBytes estimates the memory that the index takes up.
func (s *Store) IndexBytes() int64 { return s.snapshot().indexBytes() }

// indexInterval is how often the index is compared with its limit for what other replicas wrote.
const indexInterval = time.Second

// watchIndex raises the alarm if the index is beyond its limit, which it can be at the start or by the writes of other
// replicas.
func (s *Store) watchIndex(ctx context.Context) error {
	for ctx.Err() == nil {
		_ = s.Room(ctx) // which raises the alarm
		pause(ctx, indexInterval)
	}
	return nil
}
