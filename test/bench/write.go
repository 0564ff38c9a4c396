package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
)

// putWorkload puts new keys. New ones, because that is one row for kine too, which serves a put of an
// existing key by a failed insert, a read and another insert.
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

// errNotSucceeded means that a guarded transaction took the branch that it must not take here.
var errNotSucceeded = errors.New("the transaction's compare failed")

// txnWorkload has every client create, update and delete objects of its own in turn, with the
// transactions that kube-apiserver sends. One operation is one transaction.
func txnWorkload(clients int) workload {
	return workload{
		name: fmt.Sprintf("txn-%d", clients), title: fmt.Sprintf("Kubernetes create, update, delete, %d clients", clients), unit: "transaction",
		run: func(ctx context.Context, s *slot) (sample, error) {
			var next atomic.Uint64
			var live atomic.Int64
			got, err := s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				return newObjectClient(s.client.kv(n), s.prefix, &next, &live).step
			})
			got.writes, got.live = got.total, live.Load()
			return got, err
		},
	}
}

// objectClient walks through the life of one object after the other.
type objectClient struct {
	kv     pb.KVClient
	prefix string
	next   *atomic.Uint64
	live   *atomic.Int64

	stage   int // 0 create, 1 update, 2 delete
	key     []byte
	compare *pb.Compare
	put     *pb.PutRequest
	get     *pb.RangeRequest
	del     *pb.DeleteRangeRequest
	txns    [3]*pb.TxnRequest
}

func newObjectClient(kv pb.KVClient, prefix string, next *atomic.Uint64, live *atomic.Int64) *objectClient {
	c := &objectClient{
		kv: kv, prefix: prefix, next: next, live: live,
		compare: &pb.Compare{Target: pb.Compare_MOD, Result: pb.Compare_EQUAL},
		put:     &pb.PutRequest{Value: newValue()}, get: &pb.RangeRequest{}, del: &pb.DeleteRangeRequest{},
	}
	compares := []*pb.Compare{c.compare}
	put := []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: c.put}}}
	get := []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: c.get}}}
	del := []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: c.del}}}
	c.txns = [3]*pb.TxnRequest{
		{Compare: compares, Success: put},
		{Compare: compares, Success: put, Failure: get},
		{Compare: compares, Success: del, Failure: get},
	}
	return c
}

func (c *objectClient) step(ctx context.Context) error {
	if c.stage == 0 {
		c.key = appendKey(c.key[:0], c.prefix, c.next.Add(1))
		c.compare.Key, c.put.Key, c.get.Key, c.del.Key = c.key, c.key, c.key, c.key
		c.compare.TargetUnion = &pb.Compare_ModRevision{ModRevision: 0}
	}
	resp, err := c.kv.Txn(ctx, c.txns[c.stage])
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return errNotSucceeded
	}
	c.compare.TargetUnion = &pb.Compare_ModRevision{ModRevision: resp.Header.Revision}
	switch c.stage {
	case 0:
		c.live.Add(1)
	case 2:
		c.live.Add(-1)
	}
	c.stage = (c.stage + 1) % len(c.txns)
	return nil
}

// store puts the objects of set, before anything is measured.
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
	stored, err := c.count(ctx, set.prefix)
	if err == nil && stored != int64(len(set.keys)) {
		err = fmt.Errorf("stored %d objects, the server counts %d", len(set.keys), stored)
	}
	return err
}
