package logstructured

import (
	"bytes"
	"context"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// fill is a key-value whose value was not in the cache when the answer was made.
type fill struct {
	kv  *mvccpb.KeyValue
	row *row
}

// answer collects the values that an evaluation has yet to read from the database. Values that only the client needs
// are read after the append, on the goroutine of the request and not on the writer's.
type answer struct {
	fills []fill
	// bounded answers hold at most maxAnswerBytes; bytes is what they hold so far.
	bounded bool
	bytes   int64
}

// check returns an error if rows are too large to be added to the answer.
func (a *answer) check(rows []*row) error {
	bytes := a.bytes
	for _, r := range rows {
		bytes += r.cost()
	}
	if a.bounded && bytes > maxAnswerBytes {
		return &AnswerTooLargeError{bytes}
	}
	return nil
}

// keyValue makes the key-value of a row.
func (a *answer) keyValue(r *row) *mvccpb.KeyValue {
	kv := &mvccpb.KeyValue{}
	a.fillIn(kv, r)
	return kv
}

// fillIn makes kv, which is zero, the key-value of a row.
func (a *answer) fillIn(kv *mvccpb.KeyValue, r *row) {
	data, ok := r.cached()
	a.fillInWith(kv, r, data)
	if !ok {
		a.fills = append(a.fills, fill{kv, r})
	}
}

// fillInWith is fillIn for a row whose value is known.
func (a *answer) fillInWith(kv *mvccpb.KeyValue, r *row, value []byte) {
	kv.Key = r.key
	kv.CreateRevision = int64(r.create)
	kv.ModRevision = int64(r.revision)
	kv.Version = r.version
	kv.Lease = int64(r.lease)
	kv.Value = value
	a.bytes += r.cost()
}

// complete reads the missing values, taking turns with other reads in the same lane.
func (a *answer) complete(ctx context.Context, v *values, in lane) error {
	if len(a.fills) == 0 {
		return nil
	}
	rows := make([]*row, len(a.fills))
	for i, f := range a.fills {
		rows[i] = f.row
	}
	return v.loadAll(ctx, in, rows, func(i int, data []byte) { a.fills[i].kv.Value = data })
}

// checkRevision returns an error if revision cannot be read.
func (v *view) checkRevision(revision Revision) error {
	switch {
	case revision > v.revision:
		return ErrFutureRevision
	case revision > 0 && revision < v.compact:
		return ErrCompacted
	}
	return nil
}

// rangeKeys evaluates a range on the view. The caller has checked its revision. load is needed only to order by value.
func (v *view) rangeKeys(r *RangeRequest, a *answer, load func([]*row) ([][]byte, error)) (*RangeResult, error) {
	revision := r.Revision
	if revision <= 0 {
		revision = v.revision
	}
	result := &RangeResult{Revision: v.revision}
	if r.CountOnly {
		result.Count = v.count(r.KeyRange, revision)
		return result, nil
	}

	// One row more than the limit shows whether there are more.
	limit := 0
	if r.Limit > 0 && !r.limitLast() && !r.filtered() {
		limit = int(min(r.Limit, 1<<31)) + 1
	}
	rows, count := v.rows(r.KeyRange, revision, limit)
	result.Count = count
	if r.filtered() {
		rows = r.filter(rows)
	}
	cut := r.Limit > 0 && int64(len(rows)) > r.Limit
	if !cut && !r.KeysOnly {
		if err := a.check(rows); err != nil {
			return nil, err
		}
	}
	var values [][]byte // of rows, if they had to be read
	if r.sorted() {
		if r.SortTarget == SortByValue {
			if _, err := r.fit(rows); err != nil {
				return nil, err
			}
			var err error
			if values, err = load(rows); err != nil {
				return nil, err
			}
		}
		rowSorter{rows, r.SortTarget, values}.sort(r.SortOrder)
	}
	if cut {
		rows = rows[:r.Limit]
		result.More = true
		if err := a.check(rows); err != nil && !r.KeysOnly {
			return nil, err
		}
	}
	if values == nil {
		n, err := r.fit(rows)
		if err != nil {
			return nil, err
		}
		rows, result.More = rows[:n], result.More || n < len(rows)
	}
	result.KVs = make([]*mvccpb.KeyValue, len(rows))
	kvs := make([]mvccpb.KeyValue, len(rows)) // one allocation: they have the same lifetime
	for i, row := range rows {
		result.KVs[i] = &kvs[i]
		switch {
		case r.KeysOnly:
			r.fillInWithoutValue(&kvs[i], row)
		case values != nil:
			a.fillInWith(&kvs[i], row, values[i])
		default:
			a.fillIn(&kvs[i], row)
		}
	}
	return result, nil
}

// fillInWithoutValue also leaves out the lease, unless the range is ordered by value: etcd answers such a range from
// its index, which has no leases.
func (r *RangeRequest) fillInWithoutValue(kv *mvccpb.KeyValue, row *row) {
	kv.Key = row.key
	kv.CreateRevision = int64(row.create)
	kv.ModRevision = int64(row.revision)
	kv.Version = row.version
	if r.SortTarget == SortByValue {
		kv.Lease = int64(row.lease)
	}
}

// sorted reports whether the result has another order than the index.
func (r *RangeRequest) sorted() bool {
	return r.SortTarget != SortByKey || r.SortOrder == SortDescend
}

// limitLast reports whether the limit applies after the ordering. Without an explicit order etcd first applies the
// limit, in key order, and sorts the remaining keys.
func (r *RangeRequest) limitLast() bool { return r.sorted() && r.SortOrder != SortNone }

func (r *RangeRequest) filtered() bool {
	return r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
}

func (r *RangeRequest) filter(rows []*row) []*row {
	kept := rows[:0]
	for _, row := range rows {
		if (r.MinModRevision != 0 && row.revision < r.MinModRevision) ||
			(r.MaxModRevision != 0 && row.revision > r.MaxModRevision) ||
			(r.MinCreateRevision != 0 && row.create < r.MinCreateRevision) ||
			(r.MaxCreateRevision != 0 && row.create > r.MaxCreateRevision) {
			continue
		}
		kept = append(kept, row)
	}
	return kept
}

// rowSorter orders rows. It uses the same algorithm as etcd, so that rows that compare equal come in the same order as
// in etcd.
type rowSorter struct {
	rows   []*row
	target SortTarget
	// values of rows, for SortByValue.
	values [][]byte
}

func (s rowSorter) sort(order SortOrder) {
	if order == SortDescend {
		sort.Sort(sort.Reverse(s))
		return
	}
	sort.Sort(s)
}

func (s rowSorter) Len() int { return len(s.rows) }

func (s rowSorter) Swap(i, j int) {
	s.rows[i], s.rows[j] = s.rows[j], s.rows[i]
	if s.values != nil {
		s.values[i], s.values[j] = s.values[j], s.values[i]
	}
}

func (s rowSorter) Less(i, j int) bool {
	a, b := s.rows[i], s.rows[j]
	switch s.target {
	case SortByVersion:
		return a.version < b.version
	case SortByCreateRevision:
		return a.create < b.create
	case SortByModRevision:
		return a.revision < b.revision
	case SortByValue:
		return bytes.Compare(s.values[i], s.values[j]) < 0
	default:
		return bytes.Compare(a.key, b.key) < 0
	}
}

// fit takes room from the budget for the rows of an answer, and returns how many of them fit, at least one.
func (r *RangeRequest) fit(rows []*row) (int, error) {
	if r.Budget == nil || len(rows) == 0 {
		return len(rows), nil
	}
	cost := (*row).cost
	if r.KeysOnly {
		cost = func(row *row) int64 { return int64(len(row.key)) }
	}
	var total int64
	for _, row := range rows {
		total += cost(row)
	}
	left, err := r.Budget.Take(cost(rows[0]), total)
	if err != nil || left >= total {
		return len(rows), err
	}
	for i, row := range rows {
		if left -= cost(row); left < 0 && i > 0 {
			return i, nil
		}
	}
	return len(rows), nil
}
