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
func (ev *evaluation) txn(t *TxnRequest) (*TxnResult, error) {
	branches, err := ev.compare(t, nil)
	if err != nil {
		return nil, err
	}
	if _, err := ev.check(t, branches); err != nil {
		return nil, err
	}
	result, _, err := ev.run(t, branches)
	if err != nil {
		return nil, err
	}
	result.Revision = ev.st.revision
	return result, nil
}

// compare appends to branches whether t succeeds, and then the same for the nested transactions in the branch taken,
// depth first.
func (ev *evaluation) compare(t *TxnRequest, branches []bool) ([]bool, error) {
	succeeded := true
	for i := range t.Compares {
		holds, err := ev.holds(&t.Compares[i])
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
			if branches, err = ev.compare(nested, branches); err != nil {
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
func (ev *evaluation) holds(c *Compare) (holds bool, err error) {
	holds, found := true, false
	ev.st.ascend(c.KeyRange, func(ki *keyIndex) bool {
		newest := ki.newest()
		if newest.tombstone() {
			return true
		}
		found = true
		var value []byte
		if c.Target == CompareValue {
			if value, err = ev.values.load(ev.ctx, newest); err != nil {
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
func (ev *evaluation) check(t *TxnRequest, branches []bool) (used int, err error) {
	used = 1
	for _, op := range t.branch(branches[0]) {
		switch op := op.(type) {
		case *RangeRequest:
			err = ev.checkTxnRange(op)
		case *PutRequest:
			err = ev.checkPut(op, t.Compares)
		case *DeleteRangeRequest:
			if !op.Single() {
				ev.deleted = append(ev.deleted, op.KeyRange)
			}
		case *TxnRequest:
			var nested int
			nested, err = ev.check(op, branches[used:])
			used += nested
		}
		if err != nil {
			return used, err
		}
	}
	return used, nil
}

// checkTxnRange is stricter than a range outside a transaction, for which a negative revision counts as unset.
func (ev *evaluation) checkTxnRange(r *RangeRequest) error {
	if r.Revision < 0 && r.Revision < ev.st.compact {
		return ErrCompacted
	}
	return ev.st.checkRevision(r.Revision)
}

// checkPut returns the error of a put that cannot take effect. compares are the compares of its transaction.
func (ev *evaluation) checkPut(p *PutRequest, compares []Compare) error {
	if p.Lease != 0 {
		if err := ev.st.checkLease(p, compares); err != nil {
			return err
		}
	}
	if (p.IgnoreValue || p.IgnoreLease) && (ev.newest(p.Key) == nil || ev.deletes(p.Key)) {
		return ErrKeyNotFound
	}
	if p.IgnoreValue { // read the value now, so that run does not fail on it
		_, err := ev.values.load(ev.ctx, ev.newest(p.Key))
		return err
	}
	return nil
}

// deletes reports whether an operation that was already checked deletes key.
func (ev *evaluation) deletes(key []byte) bool {
	return slices.ContainsFunc(ev.deleted, func(r KeyRange) bool { return r.Contains(key) })
}

// run carries out the operations. No operation should fail after a write; [writer.evaluate] handles it if one does.
func (ev *evaluation) run(t *TxnRequest, branches []bool) (result *TxnResult, used int, err error) {
	ops := t.branch(branches[0])
	result = &TxnResult{Succeeded: branches[0], Results: make([]OpResult, len(ops))}
	used = 1
	for i, op := range ops {
		switch op := op.(type) {
		case *RangeRequest:
			result.Results[i], err = ev.st.rangeKeys(op, &ev.answer, ev.loadRows)
		case *PutRequest:
			result.Results[i], err = ev.put(op)
		case *DeleteRangeRequest:
			result.Results[i] = ev.deleteRange(op)
		case *TxnRequest:
			var nested int
			result.Results[i], nested, err = ev.run(op, branches[used:])
			used += nested
		}
		if err != nil {
			return nil, used, err
		}
	}
	return result, used, nil
}

func (ev *evaluation) loadRows(rows []*row) ([][]byte, error) {
	data := make([][]byte, len(rows))
	err := ev.values.loadAll(ev.ctx, ev.lane, rows, func(i int, d []byte) { data[i] = d })
	return data, err
}

func (ev *evaluation) put(p *PutRequest) (*PutResult, error) {
	e := log.Entry{
		Kind: log.KindPut, Key: p.Key, Value: p.Value, Lease: p.Lease,
		CreateRevision: ev.revision, Version: 1,
	}
	result := &PutResult{Revision: ev.revision}
	if prev := ev.newest(p.Key); prev != nil {
		e.CreateRevision, e.Version = prev.create, prev.version+1
		if p.PrevKV {
			result.PrevKV = ev.keyValue(prev)
		}
		if p.IgnoreLease {
			e.Lease = prev.lease
		}
		if p.IgnoreValue {
			var err error
			if e.Value, err = ev.values.load(ev.ctx, prev); err != nil {
				return nil, err
			}
		}
	}
	ev.write(e)
	return result, nil
}

func (ev *evaluation) deleteRange(d *DeleteRangeRequest) *DeleteRangeResult {
	rows, _ := ev.st.rows(d.KeyRange, ev.st.revision, 0)
	result := &DeleteRangeResult{Deleted: int64(len(rows))}
	if d.PrevKV {
		result.PrevKVs = make([]*mvccpb.KeyValue, len(rows))
		for i, r := range rows {
			result.PrevKVs[i] = ev.keyValue(r)
		}
	}
	for _, r := range rows {
		ev.write(log.Entry{Kind: log.KindTombstone, Key: r.key})
	}
	result.Revision = ev.st.revision
	return result
}
