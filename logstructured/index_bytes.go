package logstructured

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
