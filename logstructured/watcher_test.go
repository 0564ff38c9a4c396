package logstructured

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

// TestChangesFromIndex compares the rows that watchers of few keys take from the index with those of the history, also
// after a compaction.
func TestChangesFromIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	key := func() []byte { return fmt.Appendf(nil, "%03d", random.IntN(300)) }
	st := newState()
	var position log.Position
	fromIndex := 0
	for round := range 40 {
		for range 100 {
			revision := st.revision + 1
			for sub := range int64(1 + random.IntN(5)) {
				k := fmt.Appendf(nil, "%03d", int64(random.IntN(60))*5+sub)
				e := log.Entry{
					Kind: log.KindPut, Key: k, Revision: revision, Sub: sub, CreateRevision: revision, Version: 1,
				}
				if ki := st.snapshot.get(k); ki != nil && !ki.newest().tombstone() {
					e.Kind, e.CreateRevision, e.Version = log.KindTombstone, 0, 0
				}
				position++
				e.Position = position
				st.apply(&e)
			}
		}
		if round%10 == 5 {
			position++
			compact := st.revision - Revision(random.IntN(500))
			st.apply(&log.Entry{Kind: log.KindCompaction, Position: position, Revision: compact})
			for more := true; more; {
				_, more = st.trim(512, nil)
			}
		}
		snap := st.publish()
		for range 50 {
			r := KeyRange{Key: key()}
			switch random.IntN(3) {
			case 0:
				r.End = []byte{0}
			case 1:
				if r.End = key(); r.Compare(KeyRange{Key: r.End}) > 0 {
					r.Key, r.End = r.End, r.Key
				}
			}
			from := Revision(1 + random.Int64N(int64(snap.revision)))
			inRange := func(rows []*row) (out []*row) {
				for _, row := range rows {
					if r.Contains(row.key) {
						out = append(out, row)
					}
				}
				return out
			}
			history := snap.history[snap.since(from):]
			got := snap.changes(r, from)
			if !slices.Equal(inRange(got), inRange(history)) {
				t.Fatalf("%q from %d: %d rows, want %d", r, from, len(inRange(got)), len(inRange(history)))
			}
			if len(got) < len(history) {
				fromIndex++
			}
		}
	}
	if fromIndex < 100 {
		t.Errorf("%d times from the index prove little", fromIndex)
	}
}
