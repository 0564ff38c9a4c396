package logstructured_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// Requests and results are compared, and shown in failures, as text that names every field: two results are the same
// if and only if their text is. A nil and an empty slice are the same, as they are on the wire.

func requestText(op ls.Op) string {
	switch r := op.(type) {
	case *ls.RangeRequest:
		return fmt.Sprintf("Range{%s rev=%d limit=%d sort=%d/%d serializable=%v keysOnly=%v countOnly=%v "+
			"mod=%d..%d create=%d..%d}", rangeText(r.KeyRange), r.Revision, r.Limit, r.SortTarget, r.SortOrder,
			r.Serializable, r.KeysOnly, r.CountOnly,
			r.MinModRevision, r.MaxModRevision, r.MinCreateRevision, r.MaxCreateRevision)
	case *ls.PutRequest:
		return fmt.Sprintf("Put{%q=%s lease=%d prevKV=%v ignoreValue=%v ignoreLease=%v}",
			r.Key, valueText(r.Value), r.Lease, r.PrevKV, r.IgnoreValue, r.IgnoreLease)
	case *ls.DeleteRangeRequest:
		return fmt.Sprintf("Delete{%s prevKV=%v}", rangeText(r.KeyRange), r.PrevKV)
	case *ls.TxnRequest:
		var b strings.Builder
		b.WriteString("Txn{if")
		for _, c := range r.Compares {
			fmt.Fprintf(&b, " (%s target=%d result=%d %d %s)",
				rangeText(c.KeyRange), c.Target, c.Result, c.Number, valueText(c.Value))
		}
		for i, branch := range [][]ls.Op{r.Success, r.Failure} {
			b.WriteString([]string{"; then", "; else"}[i])
			for _, op := range branch {
				b.WriteString(" " + requestText(op))
			}
		}
		return b.String() + "}"
	}
	return "nil"
}

func rangeText(r ls.KeyRange) string {
	if len(r.End) == 0 {
		return fmt.Sprintf("%q", r.Key)
	}
	return fmt.Sprintf("[%q,%q)", r.Key, r.End)
}

func valueText(v []byte) string {
	if len(v) > 24 {
		return fmt.Sprintf("%q..%d", v[:8], len(v))
	}
	return fmt.Sprintf("%q", v)
}

// resultText renders an answer, or the sentinel of its error.
func resultText(res ls.OpResult, err error) string {
	if err != nil {
		return "error " + sentinelOf(err).Error()
	}
	switch r := res.(type) {
	case *ls.RangeResult:
		return fmt.Sprintf("Range{rev=%d more=%v count=%d%s}", r.Revision, r.More, r.Count, kvsText(r.KVs))
	case *ls.PutResult:
		return fmt.Sprintf("Put{rev=%d prev=%s}", r.Revision, kvText(r.PrevKV))
	case *ls.DeleteRangeResult:
		return fmt.Sprintf("Delete{rev=%d deleted=%d%s}", r.Revision, r.Deleted, kvsText(r.PrevKVs))
	case *ls.TxnResult:
		var b strings.Builder
		fmt.Fprintf(&b, "Txn{rev=%d succeeded=%v", r.Revision, r.Succeeded)
		for _, op := range r.Results {
			b.WriteString(" " + resultText(op, nil))
		}
		return b.String() + "}"
	}
	return "nil"
}

// sentinels are the errors that the store may answer a request with.
var sentinels = []error{
	ls.ErrCompacted, ls.ErrFutureRevision, ls.ErrKeyNotFound, ls.ErrLeaseNotFound, ls.ErrLeaseExists,
	ls.ErrLeaseTTLTooLarge, log.ErrTooLarge, log.ErrNoSpace, log.ErrReadOnly, log.ErrUnknown, ls.ErrUnavailable,
	ls.ErrTimeout, ls.ErrStopped,
}

// isAny reports whether err is one of the errors.
func isAny(err error, of ...error) bool {
	return slices.ContainsFunc(of, func(one error) bool { return errors.Is(err, one) })
}

func sentinelOf(err error) error {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return s
		}
	}
	return err
}

func kvsText(kvs []*mvccpb.KeyValue) string {
	var b strings.Builder
	for _, kv := range kvs {
		b.WriteString(" " + kvText(kv))
	}
	return b.String()
}

func kvText(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "none"
	}
	return fmt.Sprintf("(%q=%q create=%d mod=%d version=%d lease=%d)",
		kv.GetKey(), kv.GetValue(), kv.GetCreateRevision(), kv.GetModRevision(), kv.GetVersion(), kv.GetLease())
}

// mustMatch ends the test where the store's text differs from the oracle's.
func mustMatch(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s\n  store:  %s\n  oracle: %s", what, got, want)
	}
}
