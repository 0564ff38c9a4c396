//go:build !race

package server

import (
	"context"
	"errors"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestAllocations compares the allocations of each operation with its budget. An operation is everything from etcd's
// request to etcd's response, with the commit on SQLite but without gRPC. A budget may be raised for a reason, and is
// lowered when an operation needs less. (The race detector allocates, too.)
func TestAllocations(t *testing.T) {
	store := newStore(t)
	kv := &kvServer{member: newMember(store, &Options{Name: "a"}), maxRequestBytes: DefaultMaxRequestBytes,
		maxTxnOps: DefaultMaxTxnOps}
	ctx := within(t)
	value := make([]byte, 1024)
	put := func(key []byte) {
		if _, err := kv.Put(ctx, &pb.PutRequest{Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		put(fmt.Appendf(nil, "/registry/pods/%04d", i))
	}
	key := []byte("/registry/pods/0500")
	var rev int64 // of key, by the transaction
	for _, op := range []struct {
		name   string
		budget float64
		run    func(context.Context) error
	}{
		{"put", 36, func(ctx context.Context) error {
			_, err := kv.Put(ctx, &pb.PutRequest{Key: key, Value: value})
			return err
		}},
		{"serializable get", 11, func(ctx context.Context) error {
			_, err := kv.Range(ctx, &pb.RangeRequest{Key: key, Serializable: true})
			return err
		}},
		{"get", 20, func(ctx context.Context) error {
			_, err := kv.Range(ctx, &pb.RangeRequest{Key: key})
			return err
		}},
		{"list of 500", 532, func(ctx context.Context) error {
			_, err := kv.Range(ctx,
				&pb.RangeRequest{Key: []byte("/registry/pods/"), RangeEnd: []byte("/registry/pods0"), Limit: 500})
			return err
		}},
		{"count", 9, func(ctx context.Context) error {
			_, err := kv.Range(ctx,
				&pb.RangeRequest{Key: []byte("/registry/pods/"), RangeEnd: []byte("/registry/pods0"), CountOnly: true,
					Serializable: true})
			return err
		}},
		{"update transaction", 60, func(ctx context.Context) error {
			resp, err := kv.Txn(ctx, &pb.TxnRequest{
				Compare: []*pb.Compare{{Target: pb.Compare_MOD, Key: key,
					TargetUnion: &pb.Compare_ModRevision{ModRevision: rev}}},
				Success: []*pb.RequestOp{{
					Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}},
				}},
				Failure: []*pb.RequestOp{{
					Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}},
				}},
			})
			if err != nil {
				return err
			}
			if rev != 0 && !resp.Succeeded {
				return errors.New("the guard did not hold")
			}
			if rev = resp.Header.Revision; !resp.Succeeded { // the first one finds out
				rev = resp.Responses[0].GetResponseRange().Kvs[0].ModRevision
			}
			return nil
		}},
	} {
		got := testing.AllocsPerRun(200, func() {
			if err := op.run(ctx); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %.0f allocations", op.name, got)
		if got > op.budget {
			t.Errorf("%s: %.0f allocations, the budget is %.0f", op.name, got, op.budget)
		}
	}
}
