package logstructured_test

import (
	"bytes"

	ls "github.com/stele-db/stele/logstructured"
)

// chooser makes the generator's choices: a *rand.Rand, or the bytes of a fuzzer.
type chooser interface {
	// Intn returns a number in [0, n).
	Intn(n int) int
}

// testKeys are few, so that operations meet, and awkward, so that no byte is taken for anything but itself.
var testKeys = [][]byte{
	[]byte("\x00"), []byte("\x00\x00"), []byte("\x01"), []byte("a"), []byte("a\x00"), []byte("a\xff"), []byte("aa"),
	[]byte("ab"), []byte("b"), []byte("b/"), []byte("b/1"), []byte("b/2"), []byte("b0"), []byte("'; --"),
	[]byte("%_\\"), []byte("\xc3\x28"), []byte("\xe2\x82\xac"),
	[]byte("z"), []byte("\xff"), []byte("\xff\xff"),
}

// testValues include those that sort and compare in ways a text column would not.
var testValues = [][]byte{
	nil, []byte("1"), []byte("2"), []byte("10"), []byte("a"), []byte("A"), {0}, {0, 0}, {0xff},
	bytes.Repeat([]byte("v"), 300),
}

// generator makes requests that a server would let pass.
type generator struct {
	chooser
	// now is the revision around which revisions are chosen.
	now int64
	// leases are the TTLs that puts choose from.
	leases []ls.LeaseID
}

func (g *generator) chance(percent int) bool { return g.Intn(100) < percent }
func (g *generator) key() []byte             { return testKeys[g.Intn(len(testKeys))] }
func (g *generator) value() []byte           { return testValues[g.Intn(len(testValues))] }

func (g *generator) keyRange() ls.KeyRange {
	switch g.Intn(8) {
	case 0, 1, 2, 3:
		return ls.KeyRange{Key: g.key()}
	case 4:
		return ls.KeyRange{Key: g.key(), End: []byte{0}}
	case 5:
		return ls.KeyRange{Key: []byte{0}, End: []byte{0}}
	case 6:
		a, b := g.key(), g.key()
		if bytes.Compare(a, b) > 0 {
			a, b = b, a
		}
		return ls.KeyRange{Key: a, End: b}
	default:
		return ls.KeyRange{Key: g.key(), End: g.key()}
	}
}

// revision is mostly a plausible one, sometimes in the future or compacted.
func (g *generator) revision() ls.Revision {
	if g.chance(8) {
		return ls.Revision(g.now + int64(g.Intn(4)))
	}
	back := int64(g.Intn(40))
	return ls.Revision(max(1, g.now-back))
}

func (g *generator) rangeRequest(inTxn bool) *ls.RangeRequest {
	r := &ls.RangeRequest{KeyRange: g.keyRange()}
	if g.chance(35) {
		r.Revision = g.revision()
	} else if g.chance(3) {
		r.Revision = -1
	}
	if g.chance(40) {
		r.Limit = int64(g.Intn(7)) - 1
	}
	if g.chance(30) {
		r.SortTarget = ls.SortTarget(g.Intn(5))
		r.SortOrder = ls.SortOrder(g.Intn(3))
	}
	r.KeysOnly = g.chance(15)
	r.CountOnly = g.chance(10)
	r.Serializable = !inTxn && g.chance(20)
	for _, bound := range []*ls.Revision{
		&r.MinModRevision, &r.MaxModRevision, &r.MinCreateRevision, &r.MaxCreateRevision,
	} {
		if g.chance(7) {
			*bound = g.revision()
		}
	}
	return r
}

func (g *generator) putRequest() *ls.PutRequest {
	r := &ls.PutRequest{Key: g.key(), PrevKV: g.chance(30)}
	if r.IgnoreValue = g.chance(8); !r.IgnoreValue {
		r.Value = g.value()
	}
	if r.IgnoreLease = g.chance(8); !r.IgnoreLease && g.chance(25) && len(g.leases) > 0 {
		r.Lease = g.leases[g.Intn(len(g.leases))]
	}
	return r
}

func (g *generator) deleteRequest() *ls.DeleteRangeRequest {
	r := &ls.DeleteRangeRequest{KeyRange: g.keyRange(), PrevKV: g.chance(40)}
	if len(r.End) != 0 && g.chance(50) {
		r.End = nil // Fewer large deletions, or there would be little to look at.
	}
	return r
}

func (g *generator) compare() ls.Compare {
	c := ls.Compare{KeyRange: g.keyRange(), Target: ls.CompareTarget(g.Intn(5)), Result: ls.CompareResult(g.Intn(4))}
	switch c.Target {
	case ls.CompareVersion:
		c.Number = int64(g.Intn(4))
	case ls.CompareCreateRevision, ls.CompareModRevision:
		if g.chance(50) {
			c.Number = int64(g.revision())
		}
	case ls.CompareLease:
		if len(g.leases) > 0 && g.chance(60) {
			c.Number = int64(g.leases[g.Intn(len(g.leases))])
		}
	case ls.CompareValue:
		c.Value = g.value()
	}
	return c
}

// txnRequest returns a transaction without duplicate keys, as the server's validation demands.
func (g *generator) txnRequest() *ls.TxnRequest {
	for {
		r := g.anyTxn(0)
		if withoutDuplicates(r) {
			return r
		}
	}
}

func (g *generator) anyTxn(depth int) *ls.TxnRequest {
	r := &ls.TxnRequest{}
	for range g.Intn(3) {
		r.Compares = append(r.Compares, g.compare())
	}
	ops := func() []ls.Op {
		var ops []ls.Op
		for range g.Intn(5) {
			switch n := g.Intn(12); {
			case n < 3:
				ops = append(ops, g.rangeRequest(true))
			case n < 8:
				ops = append(ops, g.putRequest())
			case n < 10:
				ops = append(ops, g.deleteRequest())
			case n == 10 && depth < 2:
				ops = append(ops, g.anyTxn(depth+1))
			case n == 11 && g.chance(30):
				ops = append(ops, nil)
			}
		}
		return ops
	}
	r.Success, r.Failure = ops(), ops()
	return r
}

// op returns any request but a compaction.
func (g *generator) op() ls.Op {
	switch n := g.Intn(20); {
	case n < 5:
		return g.rangeRequest(false)
	case n < 11:
		return g.putRequest()
	case n < 13:
		return g.deleteRequest()
	default:
		return g.txnRequest()
	}
}

// failing returns a transaction that fails for the nth of the reasons that one can fail for; for the first only where
// something was compacted.
func (g *generator) failing(n int) ls.Op {
	var cause ls.Op
	switch n % 4 {
	case 0:
		cause = &ls.RangeRequest{KeyRange: g.keyRange(), Revision: 1}
	case 1:
		cause = &ls.RangeRequest{KeyRange: g.keyRange(), Revision: ls.Revision(g.now + 1_000_000)}
	case 2:
		cause = &ls.PutRequest{Key: []byte("never written"), IgnoreValue: true}
	case 3:
		cause = &ls.PutRequest{Key: []byte("never written"), Lease: -1}
	}
	return &ls.TxnRequest{Success: []ls.Op{&ls.PutRequest{Key: g.key(), Value: g.value()}, cause}}
}

// withoutDuplicates applies the rule of etcd's checkIntervals (server/etcdserver/api/v3rpc/key.go) to both branches.
func withoutDuplicates(r *ls.TxnRequest) bool {
	_, _, ok := writesOf(r.Success)
	if ok {
		_, _, ok = writesOf(r.Failure)
	}
	return ok
}

func writesOf(ops []ls.Op) (puts map[string]bool, deletes []ls.KeyRange, ok bool) {
	puts = map[string]bool{}
	deleted := func(key string) bool {
		for _, d := range deletes {
			// A deletion from a key on counts as deleting nothing, in etcd too.
			if !bytes.Equal(d.End, []byte{0}) && inRange([]byte(key), d) {
				return true
			}
		}
		return false
	}
	for _, op := range ops {
		if d, is := op.(*ls.DeleteRangeRequest); is {
			deletes = append(deletes, d.KeyRange)
		}
	}
	for _, op := range ops {
		t, is := op.(*ls.TxnRequest)
		if !is {
			continue
		}
		thenPuts, thenDeletes, ok := writesOf(t.Success)
		if !ok {
			return nil, nil, false
		}
		elsePuts, elseDeletes, ok := writesOf(t.Failure)
		if !ok {
			return nil, nil, false
		}
		for k := range thenPuts {
			if puts[k] || deleted(k) {
				return nil, nil, false
			}
		}
		for k := range elsePuts {
			// Only one of the two branches runs, so they may put the same key.
			if puts[k] || deleted(k) {
				return nil, nil, false
			}
		}
		for _, more := range []map[string]bool{thenPuts, elsePuts} {
			for k := range more {
				puts[k] = true
			}
		}
		deletes = append(append(deletes, thenDeletes...), elseDeletes...)
	}
	for _, op := range ops {
		if p, is := op.(*ls.PutRequest); is {
			if k := string(p.Key); puts[k] || deleted(k) {
				return nil, nil, false
			}
			puts[string(p.Key)] = true
		}
	}
	return puts, deletes, true
}
