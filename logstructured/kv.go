package logstructured

import (
	"context"
	"errors"
	"fmt"
)

// Range reads keys. It asks the database for the head of the log first, unless the request is serializable.
func (s *Store) Range(ctx context.Context, guard Guard, r *RangeRequest) (*RangeResult, error) {
	return read(ctx, s, guard, r.Serializable, func(ev *evaluation) (*RangeResult, error) {
		if err := ev.st.checkRevision(r.Revision); err != nil {
			return nil, err
		}
		return ev.st.rangeKeys(r, &ev.answer, ev.loadRows)
	})
}

// Put writes one key.
func (s *Store) Put(ctx context.Context, guard Guard, r *PutRequest) (*PutResult, error) {
	c := call{guard: guard, alarms: alarmsBeforeGuard, cost: r.cost(), size: len(r.Key) + len(r.Value)}
	return update(ctx, s, c, func(ev *evaluation) (*PutResult, error) {
		if err := ev.checkPut(r, nil); err != nil {
			return nil, err
		}
		return ev.put(r)
	})
}

// DeleteRange deletes keys.
func (s *Store) DeleteRange(ctx context.Context, guard Guard, r *DeleteRangeRequest) (*DeleteRangeResult, error) {
	c := call{guard: guard, alarms: alarmsBeforeGuard, size: len(r.Key) + len(r.End)}
	return update(ctx, s, c, func(ev *evaluation) (*DeleteRangeResult, error) { return ev.deleteRange(r), nil })
}

// Txn runs a transaction. A transaction without writes in any branch is a read.
func (s *Store) Txn(ctx context.Context, guard Guard, r *TxnRequest) (*TxnResult, error) {
	size, writes := r.weigh()
	evaluate := func(ev *evaluation) (*TxnResult, error) { return ev.txn(r) }
	if !writes {
		return read(ctx, s, guard, r.Serializable, evaluate)
	}
	s.prefetch(ctx, r)
	c := call{guard: guard, alarms: alarmsBeforeGuard, cost: r.cost(), size: size}
	return update(ctx, s, c, evaluate)
}

// read evaluates a read on the current snapshot and completes its answer. It starts over if a row was deleted
// meanwhile. evaluate must not write.
func read[T any](
	ctx context.Context, s *Store, guard Guard, serializable bool, evaluate func(*evaluation) (T, error),
) (result T, err error) {
	for range maxRereads {
		if !serializable {
			if err := s.linearize(ctx); err != nil {
				return result, err
			}
		}
		serializable = false // a serializable read that starts over needs a newer state
		snap := s.snapshot()
		if err := snap.pass(guard); err != nil {
			return result, err
		}
		d := &draft{st: &state{snapshot: *snap}, values: &s.values, lane: s.values.lanes.lists}
		ev := d.evaluation(ctx)
		ev.bounded = true
		if result, err = evaluate(ev); err == nil {
			err = ev.complete(ctx, &s.values, s.values.lanes.lists)
		}
		if !errors.Is(err, errValueGone) {
			return result, err
		}
	}
	return result, s.compactedIfGone(err)
}

// weigh returns the approximate size of a transaction, and whether any of its branches writes.
func (t *TxnRequest) weigh() (size int, writes bool) {
	for i := range t.Compares {
		size += len(t.Compares[i].Key) + len(t.Compares[i].Value)
	}
	for _, branch := range [][]Op{t.Success, t.Failure} {
		for _, op := range branch {
			switch op := op.(type) {
			case *PutRequest:
				size += len(op.Key) + len(op.Value)
				writes = true
			case *DeleteRangeRequest:
				size += len(op.Key) + len(op.End)
				writes = true
			case *TxnRequest:
				n, w := op.weigh()
				size += n
				writes = writes || w
			}
		}
	}
	return size, writes
}

// prefetch loads the values that a transaction compares into memory, so that the writer need not wait for the database.
// It only saves time: the writer reads every value that prefetch misses.
func (s *Store) prefetch(ctx context.Context, t *TxnRequest) {
	snap := s.snapshot()
	for i := range t.Compares {
		c := &t.Compares[i]
		if c.Target != CompareValue {
			continue
		}
		rows, _ := snap.rows(c.KeyRange, snap.revision, 1000)
		_ = s.values.loadAll(ctx, s.values.lanes.lists, rows, func(int, []byte) {})
	}
	for _, branch := range [][]Op{t.Success, t.Failure} {
		for _, op := range branch {
			if nested, ok := op.(*TxnRequest); ok {
				s.prefetch(ctx, nested)
			}
		}
	}
}

// maxRereads is the number of times that a read is evaluated while compactions delete rows that it needs.
const maxRereads = 5

// compactedIfGone returns ErrCompacted if err means that a row was deleted before its value was read, and otherwise
// err.
func (s *Store) compactedIfGone(err error) error {
	if errors.Is(err, errValueGone) {
		return fmt.Errorf("%w: %w", ErrCompacted, err)
	}
	return err
}
