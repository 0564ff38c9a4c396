package auth

import (
	"bytes"
	"slices"
)

// ranges are half-open ranges of keys. Once merged they are in order, and neither overlap nor touch each other.
//
// Example: permissions on the key "a", on ["a\x00", "c") and on ["b", "d") merge into the one range ["a", "d"), so that
// a request for ["a", "d") is permitted although none of them alone covers it. etcd's interval tree says the same.
type ranges []keyRange

// keyRange holds the keys from begin up to end, without end itself; end nil is the end of all keys.
type keyRange struct{ begin, end []byte }

// toRange turns etcd's notation around; ok is false for what holds no key.
func toRange(key, end []byte) (r keyRange, ok bool) {
	switch {
	case len(key) == 0:
		return r, false
	case len(end) == 0: // the one key
		return keyRange{key, append(bytes.Clone(key), 0)}, true
	case openEnded(end):
		return keyRange{key, nil}, true
	default:
		return keyRange{key, end}, bytes.Compare(key, end) < 0
	}
}

// openEnded tells whether end stands for the end of all keys.
func openEnded(end []byte) bool { return len(end) == 1 && end[0] == 0 }

// compareEnds orders ends, of which nil is the last.
func compareEnds(a, b []byte) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return bytes.Compare(a, b)
}

func (rs ranges) add(key, end []byte) ranges {
	if r, ok := toRange(key, end); ok {
		return append(rs, r)
	}
	return rs
}

// merge sorts ranges and makes one of those that overlap or touch.
func (rs ranges) merge() ranges {
	slices.SortFunc(rs, func(a, b keyRange) int { return bytes.Compare(a.begin, b.begin) })
	merged := rs[:0]
	for _, r := range rs {
		if n := len(merged); n > 0 && compareEnds(r.begin, merged[n-1].end) <= 0 {
			if compareEnds(r.end, merged[n-1].end) > 0 {
				merged[n-1].end = r.end
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// contain reports whether merged ranges hold every key of a range in etcd's notation. An empty range, whose end is not
// above its key, is held if its key is. etcd's tree finds the permission for it in most cases, but not in all.
func (rs ranges) contain(key, end []byte) bool {
	// The only one that can is the last that begins at key or before.
	i, found := slices.BinarySearchFunc(rs, key, func(r keyRange, key []byte) int { return bytes.Compare(r.begin, key) })
	if !found {
		i--
	}
	if i < 0 || compareEnds(key, rs[i].end) >= 0 {
		return false
	}
	switch {
	case len(end) == 0:
		return true
	case openEnded(end):
		return rs[i].end == nil
	default:
		return compareEnds(end, rs[i].end) <= 0
	}
}
