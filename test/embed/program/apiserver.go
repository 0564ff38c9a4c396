package main

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// apiserver uses the datastore with etcd's own client, as kube-apiserver does.
func (c *cluster) apiserver(ctx context.Context) error {
	config, err := c.etcd.TLSConfig.ClientConfig()
	if err != nil {
		return err
	}
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: c.etcd.Endpoints, DialTimeout: 5 * time.Second, TLS: config, Logger: zap.NewNop(), Context: ctx,
	})
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }()
	const pod = "/registry/pods/default/a"

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	created, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(pod), "=", 0)).
		Then(clientv3.OpPut(pod, "pending")).Commit()
	if err != nil {
		return err
	}
	watch := etcd.Watch(ctx, "/registry/pods/", clientv3.WithPrefix(), clientv3.WithPrevKV(),
		clientv3.WithRev(created.Header.Revision))
	updated, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(pod), "=", created.Header.Revision)).
		Then(clientv3.OpPut(pod, "running")).Else(clientv3.OpGet(pod)).Commit()
	if err != nil {
		return err
	}
	stale, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(pod), "=", created.Header.Revision)).
		Then(clientv3.OpPut(pod, "lost")).Else(clientv3.OpGet(pod)).Commit()
	if err != nil {
		return err
	}
	fmt.Println("created, updated, updated from a stale revision:", created.Succeeded, updated.Succeeded,
		stale.Succeeded)
	fmt.Printf("the stale one reads %q\n", stale.Responses[0].GetResponseRange().Kvs[0].Value)
	if _, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(pod), "=", updated.Header.Revision)).
		Then(clientv3.OpDelete(pod)).Else(clientv3.OpGet(pod)).Commit(); err != nil {
		return err
	}
	for seen := 0; seen < 3; {
		response, open := <-watch
		if err := response.Err(); err != nil || !open {
			return fmt.Errorf("the watch ended: %w", err)
		}
		for _, e := range response.Events {
			seen++
			fmt.Printf("event: %v create %v, %q", e.Type, e.IsCreate(), e.Kv.Value)
			if e.PrevKv != nil {
				fmt.Printf(", before %q", e.PrevKv.Value)
			}
			fmt.Println()
		}
	}
	return nil
}
