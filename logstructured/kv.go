package logstructured

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
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
	var result *PutResult
	var a answer
	if err := s.admit(ctx, r.cost()); err != nil {
		return nil, err
	}
	err := s.write(ctx, len(r.Key)+len(r.Value), func(st *step) (err error) {
		if err := st.admit(r.cost()); err != nil {
			return err
		}
		if err := st.st.pass(guard); err != nil {
			return err
		}
		if err := st.checkPut(r, nil); err != nil {
			return err
		}
		result, err = st.put(r)
		a = st.answer
		return err
	})
	if err != nil {
		return nil, s.reportFull(ctx, err)
	}
	return result, s.completeCommitted(ctx, &a)
}

// completeCommitted reads the values that the answer to a committed write lacks. It retries a failed read, because an
// error would look as if the write had failed.
func (s *Store) completeCommitted(ctx context.Context, a *answer) error {
	if len(a.fills) == 0 {
		return nil
	}
	expired := s.timeouts.begin()
	for attempt := 0; ; attempt++ {
		err := a.complete(ctx, &s.values, s.values.lanes.lists)
		if err == nil {
			return nil
		}
		over := false
		select {
		case <-expired:
			over = true
		default:
		}
		if over || ctx.Err() != nil || errors.Is(err, errValueGone) {
			return fmt.Errorf("%w, but its former value could not be read: %w", log.ErrUnknown, err)
		}
		pause(ctx, backoff(attempt))
	}
}

// DeleteRange deletes keys.
func (s *Store) DeleteRange(ctx context.Context, guard Guard, r *DeleteRangeRequest) (*DeleteRangeResult, error) {
	var result *DeleteRangeResult
	var a answer
	err := s.write(ctx, len(r.Key)+len(r.End), func(st *step) error {
		if err := st.admit(cost{}); err != nil {
			return err
		}
		if err := st.st.pass(guard); err != nil {
			return err
		}
		result = st.deleteRange(r)
		a = st.answer
		return nil
	})
	if err != nil {
		return nil, err
	}
	return result, s.completeCommitted(ctx, &a)
}

// Txn runs a transaction. A transaction without writes in any branch is a read.
func (s *Store) Txn(ctx context.Context, guard Guard, r *TxnRequest) (*TxnResult, error) {
	size, writes := r.weigh()
	if !writes {
		return s.readTxn(ctx, guard, r)
	}
	need := r.cost()
	if err := s.admit(ctx, need); err != nil {
		return nil, err
	}
	s.prefetch(ctx, r)
	var result *TxnResult
	var a answer
	err := s.write(ctx, size, func(st *step) (err error) {
		if err := st.admit(need); err != nil {
			return err
		}
		if err := st.st.pass(guard); err != nil {
			return err
		}
		result, err = st.txn(r)
		a = st.answer
		return err
	})
	if err != nil {
		return nil, s.reportFull(ctx, err)
	}
	return result, s.completeCommitted(ctx, &a)
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
		st := s.reading(ctx, snap)
		st.answer = *a
		result, err := st.txn(r)
		*a = st.answer
		return result, err
	})
}

// reading returns a step that reads a snapshot. The step must not write.
func (s *Store) reading(ctx context.Context, snap *snapshot) *step {
	ev := &evaluation{st: &state{snapshot: *snap}, values: &s.values, turn: s.values.lanes.lists}
	return ev.begin(ctx)
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

// passHere returns the error of a guard on the state that this replica has applied. Because this replica may lag, a
// refusal is checked again on the latest state, unless the database is unreachable.
func (s *Store) passHere(ctx context.Context, guard Guard) error {
	err := s.snapshot().pass(guard)
	if err == nil {
		return nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if s.linearize(ctx) != nil {
		return err
	}
	return s.snapshot().pass(guard)
}

// Check returns the error of a guard on a state that is not older than the call. It is for handlers that act before the
// store evaluates their request.
func (s *Store) Check(ctx context.Context, guard Guard) error {
	if err := s.linearize(ctx); err != nil {
		return err
	}
	return s.snapshot().pass(guard)
}
