package logstructured

import (
	"context"
	"sync"

	"github.com/stele-db/stele/logstructured/log"
)

// cachedValueOverhead approximates what a cached value costs beside its bytes.
const cachedValueOverhead = 64

// values is the value cache: rows point to their values, and a clock hand goes round over the rows that have one and
// takes away those that nobody used since it last came by. Readers of cached values take no lock.
type values struct {
	log    log.Log
	budget int64
	lanes  lanes
	// alert takes each error; those of damaged values reach people by it.
	alert func(error)

	mu   sync.Mutex
	size int64 // the sum of the costs in ring
	ring []slot
	hand int
}

// slot is a place of the ring. A row that was forgotten leaves its slot behind for the hand to collect.
type slot struct {
	row  *row
	cost int64
}

// insert adds the value that r already carries, and makes room for it.
func (v *values) insert(r *row, cv *cachedValue) {
	cost := int64(len(cv.data)) + cachedValueOverhead
	v.mu.Lock()
	defer v.mu.Unlock()
	if cost > v.budget {
		r.value.CompareAndSwap(cv, nil)
		return
	}
	v.size += cost
	v.ring = append(v.ring, slot{r, cost})
	for v.size > v.budget && len(v.ring) > 0 {
		v.sweep()
	}
}

// sweep moves the hand one row on. v.mu is held.
func (v *values) sweep() {
	if v.hand >= len(v.ring) {
		v.hand = 0
	}
	s := v.ring[v.hand]
	if cv := s.row.value.Load(); cv != nil {
		if cv.used.Swap(false) {
			v.hand++
			return
		}
		s.row.value.Store(nil)
	}
	v.size -= s.cost
	last := len(v.ring) - 1
	v.ring[v.hand], v.ring[last] = v.ring[last], slot{}
	v.ring = v.ring[:last]
	v.hand++ // what took the place is the newest: its turn comes when the hand has been round
}

// forget drops the values of rows that nobody can reach any more.
func (*values) forget(rows []*row) {
	for _, r := range rows {
		r.value.Store(nil)
	}
}

// load returns the value of one row.
func (v *values) load(ctx context.Context, r *row) ([]byte, error) {
	if data, ok := r.cached(); ok {
		return data, nil
	}
	var data []byte
	err := v.loadAll(ctx, lane{}, []*row{r}, func(_ int, d []byte) { data = d })
	return data, err
}

// loadAll calls fn with the value of each row, in no particular order; those that are not cached come from the database
// in batches, each in its turn. errValueGone means that a row was deleted meanwhile.
func (v *values) loadAll(ctx context.Context, turn lane, rows []*row, fn func(i int, data []byte)) error {
	var missing []*row
	var at []int // the index in rows of each
	var size int64
	for i, r := range rows {
		if data, ok := r.cached(); ok {
			fn(i, data)
		} else if !r.tombstone() {
			missing, at = append(missing, r), append(at, i)
			size += r.cost()
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if turn = turn.of(size); turn.turns != nil {
		release, err := v.lanes.hold(ctx, size)
		if err != nil {
			return err
		}
		defer release()
	}
	// A read that would leave little else in the cache is not kept there.
	keep := size <= v.budget/2
	for len(missing) > 0 {
		n := valueBatch(missing)
		data, err := fetch(ctx, v.log, turn, missing[:n])
		if err != nil {
			v.alert(err)
			return err
		}
		for i, r := range missing[:n] {
			if keep {
				v.keep(r, data[i])
			}
			fn(at[i], data[i])
		}
		missing, at = missing[n:], at[n:]
	}
	return nil
}

// keep puts a value that was read into the cache.
func (v *values) keep(r *row, data []byte) {
	cv := &cachedValue{data: data}
	if r.value.CompareAndSwap(nil, cv) {
		v.insert(r, cv)
	}
}
