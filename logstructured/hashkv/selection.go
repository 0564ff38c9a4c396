package hashkv

import "crypto/sha256"

// Selection finds the entries that a HashKV covers, in a history that is read twice in the order of its revisions: once
// for [Selection.Observe], and then for [Selection.Covers]. It keeps 50 to 100 bytes for each key.
//
// etcd's rule: HashKV at a revision covers all entries above the compact revision, and of those up to it the puts that
// are still current. If no key exists at the revision, the puts that were current at the compact revision count too.
// The store applies the same rule to its index.
type Selection struct {
	compact, revision int64
	keys              map[[16]byte]keyState
	// existing is the number of keys that exist at revision.
	existing int
}

// keyState is the state of a key after the observed entries.
type keyState struct {
	// compacted is the revision of the put that is current at the compact revision, 0 if there is none.
	compacted int64
	// superseded reports whether an entry above the compact revision has replaced that put.
	superseded, exists bool
}

// NewSelection returns the Selection for the HashKV at a revision. compact is the compact revision, 0 or less if there
// is none.
func NewSelection(compact, revision int64) *Selection {
	return &Selection{compact: compact, revision: revision, keys: map[[16]byte]keyState{}}
}

func hashKey(key []byte) [16]byte {
	sum := sha256.Sum256(key)
	return [16]byte(sum[:16])
}

// Observe notes an entry. A revision changes each key once at most.
func (s *Selection) Observe(key []byte, revision int64, tombstone bool) {
	if revision > s.revision {
		return
	}
	id := hashKey(key)
	k := s.keys[id]
	if k.exists {
		s.existing--
	}
	k.exists = !tombstone
	switch {
	case revision > s.compact:
		k.superseded = true
	case tombstone:
		k.compacted = 0
	default:
		k.compacted = revision
	}
	if k.exists {
		s.existing++
	}
	if !k.exists && k.compacted == 0 {
		delete(s.keys, id)
		return
	}
	s.keys[id] = k
}

// Covers reports whether the HashKV covers an entry.
func (s *Selection) Covers(key []byte, revision int64, tombstone bool) bool {
	if revision > s.compact {
		return revision <= s.revision
	}
	if tombstone {
		return false
	}
	k := s.keys[hashKey(key)]
	return k.compacted == revision && (!k.superseded || s.existing == 0)
}

// CoversCompacted reports whether the HashKV at the compact revision covers an entry.
func (s *Selection) CoversCompacted(key []byte, revision int64, tombstone bool) bool {
	return revision <= s.compact && !tombstone && s.keys[hashKey(key)].compacted == revision
}
