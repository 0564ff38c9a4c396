package server

import (
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func TestOverlaps(t *testing.T) {
	branch := func(success, failure []*pb.RequestOp) *pb.TxnRequest {
		return &pb.TxnRequest{Success: success, Failure: failure}
	}
	for name, c := range map[string]struct {
		ops []*pb.RequestOp
		dup bool
	}{
		"different puts":                   {opsOf(putOp("a"), putOp("b")), false},
		"same puts":                        {opsOf(putOp("a"), putOp("b"), putOp("a")), true},
		"same deletes":                     {opsOf(delOp("a", ""), delOp("a", "")), false},
		"overlapping deletes":              {opsOf(delOp("a", "c"), delOp("b", "d")), false},
		"put, delete":                      {opsOf(putOp("a"), delOp("a", "")), true},
		"delete, put":                      {opsOf(delOp("a", ""), putOp("a")), true},
		"put at the begin":                 {opsOf(delOp("a", "c"), putOp("a")), true},
		"put inside":                       {opsOf(delOp("a", "c"), putOp("bbb")), true},
		"put at the end":                   {opsOf(delOp("a", "c"), putOp("c")), false},
		"put inside joined deletes":        {opsOf(delOp("a", "c"), delOp("b", "e"), putOp("d")), true},
		"put between deletes":              {opsOf(delOp("a", "b"), delOp("c", "d"), putOp("b")), false},
		"put inside a wide delete":         {opsOf(delOp("b", "c"), delOp("a", "z"), putOp("x")), true},
		"point inside a range":             {opsOf(delOp("b", ""), delOp("b", "d"), putOp("c")), true},
		"inverted delete":                  {opsOf(delOp("c", "a"), putOp("b")), false},
		"delete from a key on, as in etcd": {opsOf(delOp("a", "\x00"), putOp("b")), false},
		"nested puts":                      {opsOf(branch(opsOf(putOp("a")), opsOf(putOp("b"))), putOp("c")), false},
		"nested and outer put":             {opsOf(branch(opsOf(putOp("a")), nil), putOp("a")), true},
		"nested else and outer put":        {opsOf(branch(nil, opsOf(putOp("a"))), putOp("a")), true},
		"then and else":                    {opsOf(branch(opsOf(putOp("a")), opsOf(putOp("a")))), false},
		"two nested puts": {opsOf(branch(opsOf(putOp("a")), nil), branch(opsOf(putOp("a")), nil)),
			true},
		"then, and else of another": {opsOf(branch(opsOf(putOp("a")), nil), branch(nil, opsOf(putOp("a")))),
			true},
		"duplicates inside a nested one": {opsOf(branch(nil, opsOf(putOp("a"), putOp("a")))), true},
		"outer delete, nested put":       {opsOf(branch(opsOf(putOp("b")), nil), delOp("a", "c")), true},
		"nested delete, outer put":       {opsOf(putOp("b"), branch(opsOf(delOp("a", "c")), nil)), true},
		"nested delete, later nested put": {opsOf(branch(opsOf(delOp("a", "c")), nil),
			branch(opsOf(putOp("b")), nil)), true},
		"nested put, later nested delete": {opsOf(branch(opsOf(putOp("b")), nil),
			branch(opsOf(delOp("a", "c")), nil)), false},
		"then puts what else deletes":       {opsOf(branch(opsOf(putOp("b")), opsOf(delOp("a", "c")))), false},
		"deeply nested delete, outer put":   {opsOf(putOp("b"), nest(5, opOf(delOp("b", "")))), true},
		"more puts than are compared pairs": {append(manyPuts(20), opOf(putOp("key-19"))), true},
		"many puts":                         {manyPuts(100), false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkOverlaps(c.ops); (err != nil) != c.dup {
				t.Errorf("duplicate: %v, want %v", err != nil, c.dup)
			}
		})
	}
}

func manyPuts(n int) []*pb.RequestOp {
	var ops []*pb.RequestOp
	for i := range n {
		ops = append(ops, opOf(putOp("key-"+string(rune('0'+i/10))+string(rune('0'+i%10)))))
	}
	return ops
}

// plainSet is the model: a simple implementation of the same rules.
type plainSet struct {
	puts map[string]bool
	dels []*pb.DeleteRangeRequest
}

func (s plainSet) deletes(k string) bool {
	for _, d := range s.dels {
		if len(d.RangeEnd) == 0 {
			if k == string(d.Key) {
				return true
			}
		} else if string(d.Key) <= k && k < string(d.RangeEnd) {
			return true
		}
	}
	return false
}

func plainOverlaps(ops []*pb.RequestOp) (plainSet, bool) {
	set := plainSet{puts: map[string]bool{}}
	for _, op := range ops {
		if d := op.GetRequestDeleteRange(); d != nil {
			set.dels = append(set.dels, d)
		}
	}
	for _, op := range ops {
		txn := op.GetRequestTxn()
		if txn == nil {
			continue
		}
		success, ok1 := plainOverlaps(txn.Success)
		failure, ok2 := plainOverlaps(txn.Failure)
		if !ok1 || !ok2 {
			return set, false
		}
		for _, branch := range []plainSet{success, failure} {
			for k := range branch.puts {
				if set.puts[k] || set.deletes(k) {
					return set, false
				}
			}
		}
		for _, branch := range []plainSet{success, failure} {
			for k := range branch.puts {
				set.puts[k] = true
			}
			set.dels = append(set.dels, branch.dels...)
		}
	}
	for _, op := range ops {
		if p := op.GetRequestPut(); p != nil {
			k := string(p.Key)
			if set.puts[k] || set.deletes(k) {
				return set, false
			}
			set.puts[k] = true
		}
	}
	return set, true
}

func TestOverlapsMatchModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	letter := func() string { return string(rune('a' + r.IntN(24))) }
	var ops func(depth int) []*pb.RequestOp
	ops = func(depth int) []*pb.RequestOp {
		var out []*pb.RequestOp
		for range r.IntN(5) {
			switch n := r.IntN(8); {
			case n < 3:
				out = append(out, opOf(putOp(letter())))
			case n < 5:
				end := ""
				if r.IntN(2) == 0 {
					end = letter()
				}
				out = append(out, opOf(delOp(letter(), end)))
			case depth > 0:
				out = append(out, opOf(&pb.TxnRequest{Success: ops(depth - 1), Failure: ops(depth - 1)}))
			}
		}
		return out
	}
	accepted := 0
	const rounds = 10000
	for range rounds {
		txn := ops(3)
		_, want := plainOverlaps(txn)
		if got := checkOverlaps(txn) == nil; got != want {
			t.Fatalf("accepted %v, want %v: %v", got, want, txn)
		}
		if want {
			accepted++
		}
	}
	if accepted < rounds/10 || accepted > rounds*9/10 {
		t.Errorf("%d of %d were accepted: the inputs no longer tell the two apart", accepted, rounds)
	}
}

// A transaction within the limits must not occupy a processor for long. This one has as many operations as fit into a
// message, nested as deeply as the budget permits.
func BenchmarkOverlapsOfAHugeTransaction(b *testing.B) {
	const width, levels = 36, 9
	var ops []*pb.RequestOp
	for i := range width {
		var middle []*pb.RequestOp
		for j := range width {
			var leaf []*pb.RequestOp
			for l := range width / 2 {
				k := string([]byte{byte(i), byte(j), byte(l)})
				leaf = append(leaf, opOf(putOp("p"+k)), opOf(delOp("d"+k, "d"+k+"x")))
			}
			middle = append(middle, opOf(&pb.TxnRequest{Success: leaf}))
		}
		ops = append(ops, opOf(&pb.TxnRequest{Success: middle}))
	}
	for level := range levels {
		ops = opsOf(&pb.TxnRequest{Success: ops}, delOp("x"+string(rune(level)), ""))
	}
	txn := &pb.TxnRequest{Success: ops}
	for b.Loop() {
		if err := checkTxn(txn, DefaultMaxTxnOps); err != nil {
			b.Fatal(err)
		}
	}
}
