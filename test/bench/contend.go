package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// contendWorkload updates one key from all clients. Each client gets the key, and puts it if its revision is unchanged,
// until the put takes effect. One operation is one put that took effect.
func contendWorkload(clients int) workload {
	return workload{
		name:  fmt.Sprintf("contend-%d", clients),
		title: fmt.Sprintf("Get and guarded put of one key, %d clients", clients), unit: "update",
		run: func(ctx context.Context, s *slot) (sample, error) {
			key := appendKey(nil, s.prefix, 0)
			if _, err := s.client.kv(0).Put(ctx, &pb.PutRequest{Key: key, Value: newValue()}); err != nil {
				return sample{}, err
			}
			var attempts atomic.Int64
			got, err := s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				kv, txns := s.client.kv(n), newObjectTxns()
				return func(ctx context.Context) error {
					for {
						attempts.Add(1)
						if err := txns.refresh(ctx, kv, key); !errors.Is(err, errNotSucceeded) {
							return err
						}
					}
				}
			})
			got.attempts, got.writes, got.live = attempts.Load(), got.total+1, 1
			return got, err
		},
	}
}

// refresh gets the key and updates it once.
func (t *objectTxns) refresh(ctx context.Context, kv pb.KVClient, key []byte) error {
	current, err := kv.Range(ctx, &pb.RangeRequest{Key: key})
	if err != nil {
		return err
	}
	if len(current.Kvs) != 1 {
		return fmt.Errorf("%d keys where one is", len(current.Kvs))
	}
	_, err = t.commit(ctx, kv, t.update, key, current.Kvs[0].ModRevision)
	return err
}
