package logstructured

import (
	"context"
	"errors"
	"fmt"
)

// Range reads keys. It asks the database for the head of the log first, unless the request is serializable.
func (s *Store) Range(ctx context.Context, guard Guard, r *RangeRequest) (*RangeResult, error) {
	if !r.Serializable {
		if err := s.linearize(ctx); err != nil {
			return nil, err
		}
	}
	return reread(ctx, s, func(snap *snapshot, a *answer) (*RangeResult, error) {
		if err := snap.pass(guard); err != nil {
			return nil, err
		}
		if err := snap.checkRevision(r.Revision); err != nil {
			return nil, err
		}
		return snap.rangeKeys(r, a, s.reading(ctx, snap).loadRows)
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
	if !writes {
		return s.readTxn(ctx, guard, r)
	}
	s.prefetch(ctx, r)
	c := call{guard: guard, alarms: alarmsBeforeGuard, cost: r.cost(), size: size}
	return update(ctx, s, c, func(ev *evaluation) (*TxnResult, error) { return ev.txn(r) })
}

func (s *Store) readTxn(ctx context.Context, guard Guard, r *TxnRequest) (*TxnResult, error) {
	if !r.Serializable {
		if err := s.linearize(ctx); err != nil {
			return nil, err
		}
	}
	return reread(ctx, s, func(snap *snapshot, a *answer) (*TxnResult, error) {
		if err := snap.pass(guard); err != nil {
			return nil, err
		}
		ev := s.reading(ctx, snap)
		ev.answer = *a
		result, err := ev.txn(r)
		*a = ev.answer
		return result, err
	})
}

// reading returns an evaluation on a snapshot. It must not write.
func (s *Store) reading(ctx context.Context, snap *snapshot) *evaluation {
	d := &draft{st: &state{snapshot: *snap}, values: &s.values, lane: s.values.lanes.lists}
	return d.evaluation(ctx)
}

// reread evaluates a read on the current snapshot and completes its answer. It starts over if a row was deleted
// meanwhile.
func reread[T any](ctx context.Context, s *Store, evaluate func(*snapshot, *answer) (T, error)) (result T, err error) {
	for range maxRereads {
		a := answer{bounded: true}
		result, err = evaluate(s.snapshot(), &a)
		if err == nil {
			err = a.complete(ctx, &s.values, s.values.lanes.lists)
		}
		if !errors.Is(err, errValueGone) {
			return result, err
		}
		if err := s.linearize(ctx); err != nil {
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
