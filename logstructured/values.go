package logstructured

import (
	"context"
	"sync"

	"github.com/stele-db/stele/logstructured/log"
)

// cachedValueOverhead approximates the memory of a cached value in addition to its bytes.
const cachedValueOverhead = 64

// values is the value cache. Rows point to their values. A clock hand passes over the rows that have a value, and
// evicts each value that was not used since it last passed. Readers of cached values take no lock.
type values struct {
	log    log.Log
	budget int64
	lanes  lanes
	// alert is called with each error of a read, so that damaged values are reported to the operator.
	alert func(error)

	mu   sync.Mutex
	size int64 // the sum of the costs in ring
	ring []slot
	hand int
}

// slot is a place in the ring. A forgotten row leaves its slot in the ring until the hand collects it.
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

// sweep moves the hand on by one row. v.mu is held.
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
	v.hand++ // this slot now holds the newest row, which the hand visits last
}

// forget drops the values of rows that no reader can reach.
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

// loadAll calls fn with the value of each row, in no particular order. It reads the values that are not cached from the
// database in batches, and takes a turn of the lane for each batch. It returns errValueGone if a row was deleted in the
// meantime.
func (v *values) loadAll(ctx context.Context, in lane, rows []*row, fn func(i int, data []byte)) error {
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
	if in = in.of(size); in.turns != nil {
		release, err := v.lanes.reserve(ctx, size)
		if err != nil {
			return err
		}
		defer release()
	}
	// A read that would evict most of the cache is not cached.
	keep := size <= v.budget/2
	for len(missing) > 0 {
		n := valueBatch(missing)
		data, err := fetch(ctx, v.log, in, missing[:n])
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

// keep caches a value that was read.
func (v *values) keep(r *row, data []byte) {
	cv := &cachedValue{data: data}
	if r.value.CompareAndSwap(nil, cv) {
		v.insert(r, cv)
	}
}
