package logstructured

import (
	"cmp"
	"slices"
	"sort"
)

// since returns the index in history of the first row at or above revision.
func (s *snapshot) since(revision Revision) int {
	return sort.Search(len(s.history), func(i int) bool { return s.history[i].revision >= revision })
}

// minIndexScan is how many rows of history a watcher scans without considering the index.
const minIndexScan = 256

// changes returns the rows from revision on, in order. It may leave out rows of keys that are not in r. If the history
// is long and r has few keys, it takes the rows from the index: many watchers that each have one event in a large
// revision then do not all scan the whole revision.
func (s *snapshot) changes(r KeyRange, from Revision) []*row {
	history := s.history[s.since(from):]
	if len(history) < minIndexScan || from < s.compact {
		return history // the index may lack rows before the compact revision
	}
	keys := 1
	if !r.Single() {
		if keys = s.keys.Len() - rank(s.keys, r.Key); !r.FromKey() {
			keys = rank(s.keys, r.End) - rank(s.keys, r.Key)
		}
	}
	if keys > len(history)/16 {
		return history
	}
	var rows []*row
	s.ascend(r, func(ki *keyIndex) bool {
		rows = append(rows, ki.rows[ki.find(from-1)+1:]...)
		return true
	})
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.sub, b.sub))
	})
	return rows
}

// previous returns the live row that r replaced, or nil if there was none or it was compacted.
func (s *snapshot) previous(r *row) *row {
	if r.revision-1 < s.compact {
		return nil
	}
	if ki := s.get(r.key); ki != nil {
		return ki.live(r.revision - 1)
	}
	return nil
}
