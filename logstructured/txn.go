package logstructured

import (
	"bytes"
	"cmp"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/logstructured/log"
)

// txn evaluates a transaction as etcd does. It evaluates all compares, including those of nested transactions, on the
// state before the transaction. Then it checks all operations for errors, and then runs them; each operation sees the
// writes of the previous ones.
func (s *step) txn(t *TxnRequest) (*TxnResult, error) {
	branches, err := s.compare(t, nil)
	if err != nil {
		return nil, err
	}
	if _, err := s.check(t, branches); err != nil {
		return nil, err
	}
	result, _, err := s.run(t, branches)
	if err != nil {
		return nil, err
	}
	result.Revision = s.st.revision
	return result, nil
}

// compare appends to branches whether t succeeds, and then the same for the nested transactions in the branch taken,
// depth first.
func (s *step) compare(t *TxnRequest, branches []bool) ([]bool, error) {
	succeeded := true
	for i := range t.Compares {
		holds, err := s.holds(&t.Compares[i])
		if err != nil {
			return nil, err
		}
		if !holds {
			succeeded = false
			break
		}
	}
	branches = append(branches, succeeded)
	for _, op := range t.branch(succeeded) {
		if nested, ok := op.(*TxnRequest); ok {
			var err error
			if branches, err = s.compare(nested, branches); err != nil {
				return nil, err
			}
		}
	}
	return branches, nil
}

func (t *TxnRequest) branch(succeeded bool) []Op {
	if succeeded {
		return t.Success
	}
	return t.Failure
}

// holds evaluates one compare on every live key of its range, or on zero values if there is no key.
func (s *step) holds(c *Compare) (holds bool, err error) {
	holds, found := true, false
	s.st.ascend(c.KeyRange, func(ki *keyIndex) bool {
		newest := ki.newest()
		if newest.tombstone() {
			return true
		}
		found = true
		var value []byte
		if c.Target == CompareValue {
			if value, err = s.values.load(s.ctx, newest); err != nil {
				return false
			}
		}
		holds = c.holds(newest, value)
		return holds
	})
	if !found {
		// A missing key has no value to compare with, not even an empty one.
		holds = c.Target != CompareValue && c.holds(&row{}, nil)
	}
	return holds, err
}

func (c *Compare) holds(r *row, value []byte) bool {
	var order int
	switch c.Target {
	case CompareVersion:
		order = cmp.Compare(r.version, c.Number)
	case CompareCreateRevision:
		order = cmp.Compare(int64(r.create), c.Number)
	case CompareModRevision:
		order = cmp.Compare(int64(r.revision), c.Number)
	case CompareValue:
		order = bytes.Compare(value, c.Value)
	case CompareLease:
		order = cmp.Compare(int64(r.lease), c.Number)
	}
	switch c.Result {
	case CompareEqual:
		return order == 0
	case CompareNotEqual:
		return order != 0
	case CompareGreater:
		return order > 0
	case CompareLess:
		return order < 0
	}
	return true
}

// check returns the first error that an operation of the branches taken would have, and the number of branches that it
// used up.
func (s *step) check(t *TxnRequest, branches []bool) (used int, err error) {
	used = 1
	for _, op := range t.branch(branches[0]) {
		switch op := op.(type) {
		case *RangeRequest:
			err = s.checkTxnRange(op)
		case *PutRequest:
			err = s.checkPut(op, t.Compares)
		case *DeleteRangeRequest:
			if !op.single() {
				s.deleted = append(s.deleted, op.KeyRange)
			}
		case *TxnRequest:
			var nested int
			nested, err = s.check(op, branches[used:])
			used += nested
		}
		if err != nil {
			return used, err
		}
	}
	return used, nil
}

// checkTxnRange is stricter than a range outside a transaction, for which a negative revision counts as unset.
func (s *step) checkTxnRange(r *RangeRequest) error {
	if r.Revision < 0 && r.Revision < s.st.compact {
		return ErrCompacted
	}
	return s.st.checkRevision(r.Revision)
}

// checkPut returns the error of a put that cannot take effect. compares are the compares of its transaction.
func (s *step) checkPut(p *PutRequest, compares []Compare) error {
	if p.Lease != 0 {
		if err := s.st.checkLease(p, compares); err != nil {
			return err
		}
	}
	if (p.IgnoreValue || p.IgnoreLease) && (s.newest(p.Key) == nil || s.deletes(p.Key)) {
		return ErrKeyNotFound
	}
	if p.IgnoreValue { // read the value now, so that run does not fail on it
		_, err := s.values.load(s.ctx, s.newest(p.Key))
		return err
	}
	return nil
}

// deletes reports whether an operation that was already checked deletes key.
func (s *step) deletes(key []byte) bool {
	return slices.ContainsFunc(s.deleted, func(r KeyRange) bool { return r.contains(key) })
}

// run carries out the operations. No operation should fail after a write; [writer.evaluate] handles it if one does.
func (s *step) run(t *TxnRequest, branches []bool) (result *TxnResult, used int, err error) {
	ops := t.branch(branches[0])
	result = &TxnResult{Succeeded: branches[0], Results: make([]OpResult, len(ops))}
	used = 1
	for i, op := range ops {
		switch op := op.(type) {
		case *RangeRequest:
			result.Results[i], err = s.st.rangeKeys(op, &s.answer, s.loadRows)
		case *PutRequest:
			result.Results[i], err = s.put(op)
		case *DeleteRangeRequest:
			result.Results[i] = s.deleteRange(op)
		case *TxnRequest:
			var nested int
			result.Results[i], nested, err = s.run(op, branches[used:])
			used += nested
		}
		if err != nil {
			return nil, used, err
		}
	}
	return result, used, nil
}

func (s *step) loadRows(rows []*row) ([][]byte, error) {
	data := make([][]byte, len(rows))
	err := s.values.loadAll(s.ctx, s.turn, rows, func(i int, d []byte) { data[i] = d })
	return data, err
}

func (s *step) put(p *PutRequest) (*PutResult, error) {
	e := log.Entry{
		Kind: log.KindPut, Key: p.Key, Value: p.Value, Lease: p.Lease,
		CreateRevision: s.revision, Version: 1,
	}
	result := &PutResult{Revision: s.revision}
	if prev := s.newest(p.Key); prev != nil {
		e.CreateRevision, e.Version = prev.create, prev.version+1
		if p.PrevKV {
			result.PrevKV = s.keyValue(prev)
		}
		if p.IgnoreLease {
			e.Lease = prev.lease
		}
		if p.IgnoreValue {
			var err error
			if e.Value, err = s.values.load(s.ctx, prev); err != nil {
				return nil, err
			}
		}
	}
	s.write(e)
	return result, nil
}

func (s *step) deleteRange(d *DeleteRangeRequest) *DeleteRangeResult {
	rows, _ := s.st.rows(d.KeyRange, s.st.revision, 0)
	result := &DeleteRangeResult{Deleted: int64(len(rows))}
	if d.PrevKV {
		result.PrevKVs = make([]*mvccpb.KeyValue, len(rows))
		for i, r := range rows {
			result.PrevKVs[i] = s.keyValue(r)
		}
	}
	for _, r := range rows {
		s.write(log.Entry{Kind: log.KindTombstone, Key: r.key})
	}
	result.Revision = s.st.revision
	return result
}
