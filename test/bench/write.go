package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
)

// putWorkload puts new keys. A put of a new key is one row for kine too, which serves a put of an existing key by a
// failed insert, a read and another insert.
func putWorkload(clients int) workload {
	return workload{
		name: fmt.Sprintf("put-%d", clients), title: fmt.Sprintf("Put of a new key, %d clients", clients), unit: "put",
		run: func(ctx context.Context, s *slot) (sample, error) {
			var next atomic.Uint64
			got, err := s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				kv := s.client.kv(n)
				req := &pb.PutRequest{Value: newValue()}
				return func(ctx context.Context) error {
					req.Key = appendKey(req.Key[:0], s.prefix, next.Add(1))
					_, err := kv.Put(ctx, req)
					return err
				}
			})
			got.writes, got.live = got.total, got.total
			return got, err
		},
	}
}

// errNotSucceeded means that the compare of a transaction failed.
var errNotSucceeded = errors.New("the transaction's compare failed")

// txnWorkload creates, updates and deletes objects with the transactions of a kube-apiserver. Each client has its own
// objects. One operation is one transaction.
func txnWorkload(clients int) workload {
	return workload{
		name:  fmt.Sprintf("txn-%d", clients),
		title: fmt.Sprintf("Kubernetes create, update, delete, %d clients", clients), unit: "transaction",
		run: func(ctx context.Context, s *slot) (sample, error) {
			var next atomic.Uint64
			var live atomic.Int64
			got, err := s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				return (&objectClient{kv: s.client.kv(n), prefix: s.prefix, next: &next, live: &live,
					txns: newObjectTxns()}).step
			})
			got.writes, got.live = got.total, live.Load()
			return got, err
		},
	}
}

// objectTxns are the transactions of a kube-apiserver, for one client that sends one at a time.
type objectTxns struct {
	compare                *pb.Compare
	put                    *pb.PutRequest
	get                    *pb.RangeRequest
	del                    *pb.DeleteRangeRequest
	create, update, remove *pb.TxnRequest
}

func newObjectTxns() *objectTxns {
	t := &objectTxns{
		compare: &pb.Compare{Target: pb.Compare_MOD, Result: pb.Compare_EQUAL},
		put:     &pb.PutRequest{Value: newValue()}, get: &pb.RangeRequest{}, del: &pb.DeleteRangeRequest{},
	}
	compares := []*pb.Compare{t.compare}
	put := []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: t.put}}}
	get := []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: t.get}}}
	del := []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: t.del}}}
	t.create = &pb.TxnRequest{Compare: compares, Success: put}
	t.update = &pb.TxnRequest{Compare: compares, Success: put, Failure: get}
	t.remove = &pb.TxnRequest{Compare: compares, Success: del, Failure: get}
	return t
}

// commit sends one of t for the key, whose mod revision must be the given one (0 if it does not exist), and returns the
// revision of the write.
func (t *objectTxns) commit(ctx context.Context, kv pb.KVClient, txn *pb.TxnRequest, key []byte,
	modRevision int64) (int64, error) {
	t.compare.Key, t.put.Key, t.get.Key, t.del.Key = key, key, key, key
	t.compare.TargetUnion = &pb.Compare_ModRevision{ModRevision: modRevision}
	resp, err := kv.Txn(ctx, txn)
	if err != nil {
		return 0, err
	}
	if !resp.Succeeded {
		return 0, errNotSucceeded
	}
	return resp.Header.Revision, nil
}

// objectClient creates, updates and deletes one object after the other.
type objectClient struct {
	kv     pb.KVClient
	prefix string
	next   *atomic.Uint64
	live   *atomic.Int64

	txns     *objectTxns
	stage    int // 0 create, 1 update, 2 delete
	key      []byte
	revision int64
}

func (c *objectClient) step(ctx context.Context) (err error) {
	txn := c.txns.update
	switch c.stage {
	case 0:
		c.key, c.revision = appendKey(c.key[:0], c.prefix, c.next.Add(1)), 0
		txn = c.txns.create
	case 2:
		txn = c.txns.remove
	}
	if c.revision, err = c.txns.commit(ctx, c.kv, txn, c.key, c.revision); err != nil {
		return err
	}
	switch c.stage {
	case 0:
		c.live.Add(1)
	case 2:
		c.live.Add(-1)
	}
	c.stage = (c.stage + 1) % 3
	return nil
}

// store puts the objects of set before the measurement.
func store(ctx context.Context, c *client, set objectSet) error {
	const clients = 16 // more only make kine's writers starve each other
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for n := range clients {
		g.Go(func() error {
			kv := c.kv(n)
			value := newValue()
			for i := next.Add(1) - 1; i < int64(len(set.keys)); i = next.Add(1) - 1 {
				if _, err := kv.Put(gctx, &pb.PutRequest{Key: []byte(set.keys[i]), Value: value}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return stored(ctx, c, set)
}
