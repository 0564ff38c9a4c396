package keyrange

import (
	"bytes"
	"slices"
)

// Set is a set of keys: sorted ranges, none of which is empty, and which neither overlap nor touch each other.
//
// Example: the key "a", ["a\x00", "c") and ["b", "d") together are the one range ["a", "d"), so that the set contains
// the range ["a", "d") although none of them alone does.
type Set []Range

// NewSet returns the union of ranges, whose slice it reuses.
func NewSet(ranges []Range) Set {
	ranges = slices.DeleteFunc(ranges, Range.Empty)
	slices.SortFunc(ranges, Range.Compare)
	return join(ranges)
}

// join joins sorted ranges that overlap or touch, in place.
func join(ranges []Range) Set {
	set := ranges[:0]
	for _, r := range ranges {
		n := len(set)
		if n == 0 || !set[n-1].reaches(r.Key) {
			set = append(set, r)
		} else if set[n-1].compareEnd(r) < 0 {
			set[n-1] = set[n-1].extend(r)
		}
	}
	return set
}

// Union returns the union of two sets. It may reuse either.
func (s Set) Union(other Set) Set {
	switch {
	case len(s) == 0:
		return other
	case len(other) == 0:
		return s
	}
	all := slices.Concat(s, other)
	slices.SortFunc(all, Range.Compare)
	return join(all)
}

// find returns the only range of s that can hold key, and false if none begins at or before key.
func (s Set) find(key []byte) (Range, bool) {
	i, found := slices.BinarySearchFunc(s, key, func(r Range, key []byte) int { return bytes.Compare(r.Key, key) })
	if !found {
		i--
	}
	if i < 0 {
		return Range{}, false
	}
	return s[i], true
}

// Contains reports whether s holds key.
func (s Set) Contains(key []byte) bool {
	r, ok := s.find(key)
	return ok && r.Contains(key)
}

// Covers reports whether s holds every key of r. It covers an empty range if it holds its Key.
func (s Set) Covers(r Range) bool {
	found, ok := s.find(r.Key)
	return ok && found.Contains(r.Key) && (r.Empty() || found.compareEnd(r) >= 0)
}
