package logstructured

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// heapBytes is the memory of what can be reached.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestIndexBytes compares the estimated memory of the index with the heap. It must be right within three tenths.
func TestIndexBytes(t *testing.T) {
	put := func(st *state, key []byte) {
		e := log.Entry{
			Kind: log.KindPut, Position: st.head.Position + 1, ID: 1, Key: key,
			Revision: st.revision + 1, CreateRevision: st.revision + 1, Version: 1,
		}
		st.apply(&e)
		if e.Position%1000 == 0 {
			st.publish() // as after an append: the trees are copied on write
		}
	}
	remove := func(st *state, key []byte) {
		st.apply(&log.Entry{
			Kind: log.KindTombstone, Position: st.head.Position + 1, ID: 1, Revision: st.revision + 1, Key: key,
		})
	}
	compact := func(st *state) {
		st.apply(&log.Entry{Kind: log.KindCompaction, Position: st.head.Position + 1, ID: 1, Revision: st.revision})
		for more := true; more; {
			_, more = st.trim(512, nil)
		}
	}
	var leases expiry
	const many = 100_000
	for _, test := range []struct {
		name string
		fill func(*state)
	}{
		{"many small keys in order", func(st *state) {
			for i := range many {
				put(st, fmt.Appendf(nil, "/registry/pods/%08d", i))
			}
		}},
		{"many small keys in no order", func(st *state) {
			for range many {
				put(st, fmt.Appendf(nil, "/registry/pods/default/%016x", rand.Uint64()))
			}
		}},
		{"few large keys", func(st *state) {
			for i := range 30 {
				put(st, fmt.Appendf(nil, "%01400000d", i))
			}
		}},
		{"many revisions of a key", func(st *state) {
			for range many {
				put(st, []byte("key"))
			}
		}},
		{"a few revisions of many keys", func(st *state) {
			for range 4 {
				for i := range many / 4 {
					put(st, fmt.Appendf(nil, "/registry/leases/%08d", i))
				}
			}
		}},
		{"deleted keys", func(st *state) {
			for i := range many / 2 {
				put(st, fmt.Appendf(nil, "/registry/events/%08d", i))
				remove(st, fmt.Appendf(nil, "/registry/events/%08d", i))
			}
		}},
		{"what a compaction leaves", func(st *state) {
			for range 3 {
				for i := range many / 2 {
					put(st, fmt.Appendf(nil, "/registry/leases/%08d", i))
				}
			}
			compact(st)
			st.cut(st.compact)
		}},
		{"what a compaction leaves to a watcher that lags", func(st *state) {
			for range 3 {
				for i := range many / 2 {
					put(st, fmt.Appendf(nil, "/registry/leases/%08d", i))
				}
			}
			compact(st)
		}},
		{"leases with keys", func(st *state) {
			st.setLeaseMode(LeaseModeEtcd)
			for i := range many / 2 {
				grant := log.Entry{
					Kind: log.KindLease, Position: st.head.Position + 1, ID: 1, Lease: LeaseID(i + 1), Version: 60,
				}
				st.apply(&grant)
				leases.note(&grant, nil, time.Time{})
				e := log.Entry{
					Kind: log.KindPut, Position: st.head.Position + 1, ID: 1, Key: fmt.Appendf(nil, "/session/%08d", i),
					Revision: st.revision + 1, CreateRevision: st.revision + 1, Version: 1, Lease: LeaseID(i + 1),
				}
				st.apply(&e)
			}
		}},
		{"records", func(st *state) {
			for i := range many / 10 {
				st.apply(&log.Entry{
					Kind: log.KindRecord, Position: st.head.Position + 1, ID: 1, Version: 1,
					Key: fmt.Appendf(nil, "auth/users/%08d", i), Value: make([]byte, 1000),
				})
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := heapBytes()
			st := newState()
			empty := st.indexBytes()
			test.fill(st)
			got, real := st.indexBytes()-empty, heapBytes()-before
			t.Logf("estimated %d, real %d: %.2f", got, real, float64(got)/float64(real))
			if float64(got) < 0.7*float64(real) || float64(got) > 1.3*float64(real) {
				t.Errorf("estimated %d, real %d", got, real)
			}
			runtime.KeepAlive(st)
			runtime.KeepAlive(leases)
		})
	}
}

// TestFootprintAgreesWithTheIndex compares the counts that each change updates with a count of the whole index.
func TestFootprintAgreesWithTheIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	st := newState()
	next := func(kind log.Kind, name string) *log.Entry {
		return &log.Entry{
			Kind: kind, Position: st.head.Position + 1, ID: 1, Revision: st.revision, Key: []byte(name), Version: 1,
		}
	}
	write := func() {
		name := fmt.Sprintf("key/%0*d", rnd.IntN(30), rnd.IntN(20))
		switch ki := st.get([]byte(name)); {
		case rnd.IntN(10) == 0:
			e := next(log.KindRecord, name)
			e.Value, e.Version = make([]byte, rnd.IntN(100)), int64(rnd.IntN(2))
			st.apply(e)
		case ki != nil && !ki.newest().tombstone() && rnd.IntN(2) == 0:
			e := next(log.KindTombstone, name)
			e.Revision, e.Version = st.revision+1, 0
			st.apply(e)
		default:
			e := next(log.KindPut, name)
			e.Revision, e.CreateRevision = st.revision+1, st.revision+1
			st.apply(e)
		}
	}
	published := st.publish()
	for i := range 5000 {
		sp := st.savepoint()
		for range rnd.IntN(5) {
			write()
		}
		if rnd.IntN(3) == 0 {
			st.reset(published, sp) // the append failed
		}
		if rnd.IntN(20) == 0 && st.compact < st.revision {
			e := next(log.KindCompaction, "")
			e.Revision = st.compact + 1 + Revision(rnd.IntN(int(st.revision-st.compact)))
			st.apply(e)
		}
		st.trim(1+rnd.IntN(20), nil)
		if rnd.IntN(10) == 0 {
			st.cut(st.compact)
		}
		published = st.publish()
		var want footprint
		st.keys.Scan(func(ki *keyIndex) bool {
			want.keyBytes += memoryOf(len(ki.key))
			want.rowCount += int64(len(ki.rows))
			for _, r := range ki.rows {
				if r.tombstone() {
					want.tombstones++
				}
			}
			return true
		})
		if st.records != nil {
			st.records.Scan(func(r *record) bool {
				want.recordBytes += memoryOfRecord(r)
				return true
			})
		}
		want.lagging = st.lagging
		if st.footprint != want || st.lagging < 0 || st.start >= st.compact && st.lagging > 0 {
			t.Fatalf("after %d steps: %+v, want %+v", i, st.footprint, want)
		}
	}
}
