package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
)

// updates is how often every object of the large set is updated. Afterwards the workloads without history run again.
const updates = 10

// batch is the number of puts of one transaction that stores objects.
const batch = 100

// updated returns the workload w of the large set, after the updates.
func updated(w workload) workload {
	w.name = strings.TrimSuffix(w.name, largeSuffix(true)) + "-updated"
	w.title += fmt.Sprintf(", each object updated %d times", updates)
	w.updated = true
	return w
}

// update repeatedly puts every object of the large set, and checks the objects afterwards.
func (b *bench) update(ctx context.Context, t *target) error {
	_, _ = fmt.Fprintf(b.progress, "updating %d objects %d times in %s\n", len(b.large.keys), updates, t.title)
	for n := range updates {
		if err := storeBatches(ctx, t.client, b.large, uint64(n+1)); err != nil {
			return err
		}
	}
	for range 100 {
		key := b.large.keys[rand.IntN(len(b.large.keys))]
		resp, err := t.client.kv(0).Range(ctx, &pb.RangeRequest{Key: []byte(key)})
		if err != nil {
			return err
		}
		if len(resp.Kvs) != 1 || resp.Kvs[0].Version != updates+1 || len(resp.Kvs[0].Value) != valueSize ||
			valueNumber(resp.Kvs[0].Value) != updates {
			return fmt.Errorf("after %d updates an object is %v", updates, resp.Kvs)
		}
	}
	return nil
}

// storeBatches puts the objects of set, many in a transaction, with number in their values.
func storeBatches(ctx context.Context, c *client, set objectSet, number uint64) error {
	const clients = 8
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for n := range clients {
		g.Go(func() error {
			kv, txn, value := c.kv(n), &pb.TxnRequest{}, newValue()
			numberValue(value, number)
			for {
				until := int(next.Add(batch))
				from := until - batch
				if from >= len(set.keys) {
					return nil
				}
				txn.Success = txn.Success[:0]
				for _, key := range set.keys[from:min(until, len(set.keys))] {
					put := &pb.PutRequest{Key: []byte(key), Value: value}
					txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
				}
				resp, err := kv.Txn(gctx, txn)
				if err != nil {
					return err
				}
				if len(resp.Responses) != len(txn.Success) {
					return fmt.Errorf("a transaction of %d puts has %d answers", len(txn.Success), len(resp.Responses))
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return stored(ctx, c, set)
}

// stored checks that the objects of set exist.
func stored(ctx context.Context, c *client, set objectSet) error {
	have, err := c.count(ctx, set.prefix)
	if err == nil && have != int64(len(set.keys)) {
		err = fmt.Errorf("stored %d objects, the server counts %d", len(set.keys), have)
	}
	return err
}
