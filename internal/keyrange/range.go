// Package keyrange holds ranges of keys in etcd's notation, and sets of them.
package keyrange

import (
	"bytes"
	"cmp"
)

// Range is a range of keys in etcd's notation: without End it is the one key Key; with End "\x00" it is every key from
// Key on; otherwise it is Key <= k < End. Key "\x00" with End "\x00" is every key.
type Range struct {
	Key []byte
	End []byte
}

// Prefix returns the range of the keys that begin with prefix.
func Prefix(prefix []byte) Range {
	if len(prefix) == 0 {
		return Range{[]byte{0}, []byte{0}}
	}
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return Range{prefix, end}
		}
	}
	return Range{prefix, []byte{0}}
}

// Single reports whether r is one key.
func (r Range) Single() bool { return len(r.End) == 0 }

// FromKey reports whether r has no upper bound.
func (r Range) FromKey() bool { return len(r.End) == 1 && r.End[0] == 0 }

// Empty reports whether r holds no key.
func (r Range) Empty() bool { return !r.Single() && !r.FromKey() && bytes.Compare(r.Key, r.End) >= 0 }

// Contains reports whether r holds key.
func (r Range) Contains(key []byte) bool {
	switch {
	case r.Single():
		return bytes.Equal(key, r.Key)
	case r.FromKey():
		return bytes.Compare(key, r.Key) >= 0
	default:
		return bytes.Compare(key, r.Key) >= 0 && bytes.Compare(key, r.End) < 0
	}
}

// Compare orders ranges by Key, then by End.
func (r Range) Compare(other Range) int {
	return cmp.Or(bytes.Compare(r.Key, other.Key), bytes.Compare(r.End, other.End))
}

// compareEnd compares the upper bounds of two ranges, without allocating the bound of a single key.
func (r Range) compareEnd(other Range) int {
	switch {
	case r.FromKey() && other.FromKey():
		return 0
	case r.FromKey():
		return 1
	case other.FromKey():
		return -1
	case r.Single() && other.Single():
		return bytes.Compare(r.Key, other.Key)
	case r.Single():
		return -compareNext(other.End, r.Key)
	case other.Single():
		return compareNext(r.End, other.Key)
	}
	return bytes.Compare(r.End, other.End)
}

// reaches reports whether key is in r or directly follows its last key. key must not be less than r.Key.
func (r Range) reaches(key []byte) bool {
	switch {
	case r.FromKey():
		return true
	case r.Single():
		return compareNext(key, r.Key) <= 0
	}
	return bytes.Compare(key, r.End) <= 0
}

// extend returns r with the upper bound of another range.
func (r Range) extend(other Range) Range {
	r.End = other.End
	if other.Single() {
		r.End = append(bytes.Clone(other.Key), 0)
	}
	return r
}

// compareNext compares a key with the key that directly follows another one, which is that key and a zero byte.
func compareNext(key, other []byte) int {
	if rest, ok := bytes.CutPrefix(key, other); ok {
		return bytes.Compare(rest, []byte{0})
	}
	return bytes.Compare(key, other)
}
