package auth

import (
	"bytes"
	"slices"
)

// ranges are half-open ranges of keys. After merge they are sorted, and neither overlap nor touch each other.
//
// Example: permissions on the key "a", on ["a\x00", "c") and on ["b", "d") merge into the one range ["a", "d"), so that
// a request for ["a", "d") is permitted although none of them alone covers it. etcd's interval tree gives the same
// result.
type ranges []keyRange

// keyRange holds the keys from begin up to, but not including, end. A nil end means that there is no upper bound.
type keyRange struct{ begin, end []byte }

// toRange converts a range from etcd's notation. ok is false if the range is empty.
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

// openEnded reports whether end means no upper bound in etcd's notation.
func openEnded(end []byte) bool { return len(end) == 1 && end[0] == 0 }

// compareEnds compares two ends. nil is the greatest.
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

// merge sorts ranges and joins those that overlap or touch.
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

// contain reports whether merged ranges contain every key of a range in etcd's notation. An empty range, whose end is
// not above its key, is contained if its key is. etcd's tree finds the permission for an empty range in most cases, but
// not in all.
func (rs ranges) contain(key, end []byte) bool {
	// Only the last range that begins at or before key can contain it.
	i, found := slices.BinarySearchFunc(rs, key, func(r keyRange, key []byte) int {
		return bytes.Compare(r.begin, key)
	})
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
