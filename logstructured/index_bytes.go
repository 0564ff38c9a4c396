package logstructured

// The memory that parts of the index use, in bytes, including the slack of growing slices and of tree nodes that are
// not full. TestIndexBytes compares the sum with the heap.
const (
	// rowMemory is for a row, and the pointers to it from its key, the history and the garbage.
	rowMemory = 136
	// keyMemory is for a keyIndex without its rows, and its place in the tree.
	keyMemory = 72
	// deadMemory is for a deleted key's place in the tree of deleted keys.
	deadMemory = 16
	// leaseMemory is for a lease with its deadline, attachmentMemory for one of its keys.
	leaseMemory      = 128
	attachmentMemory = 40
	// recordMemory is for a record without its name and value.
	recordMemory = 80
)

// memoryOf returns the memory that n bytes use as a separate allocation.
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

// A request that grows the index by at most smallGrowth may exceed the limit by one part in indexReserve.
const (
	smallGrowth  = 1 << 10
	indexReserve = 16
)

// indexFull reports whether the index would exceed limit with growth more bytes. Tombstones do not count: deleting
// makes room, once a compaction at a later revision drops the keys. Small requests have a reserve, for the write that
// is needed to reach that later revision.
func (s *snapshot) indexFull(growth int, limit int64) bool {
	if growth <= smallGrowth {
		limit += limit / indexReserve
	}
	return s.indexBytes()-s.tombstones*rowMemory+int64(growth) > limit
}
