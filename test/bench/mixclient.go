package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// These are the numbers of each kind among a thousand requests of a kube-apiserver; the rest are updates.
const (
	mixGets    = 360
	mixLists   = 20
	mixCreates = 140
	mixDeletes = 100
)

// mixClient is a client that owns some objects, so that it knows the right answers.
type mixClient struct {
	load    *mixLoad
	prefix  *mixPrefix
	n       int
	kv      pb.KVClient
	random  *rand.Rand
	objects []mixObject
	txns    *objectTxns
	get     *pb.RangeRequest
	buf     rawMessage
	list    func(context.Context) error
}

type mixObject struct {
	key      []byte
	revision int64
}

func (m *mixLoad) newClient(n int) func(context.Context) error {
	c := &mixClient{
		load: m, prefix: &m.prefixes[n%len(m.prefixes)], n: n, kv: m.slot.client.kv(n),
		// Every server gets the same requests, as far as its pace allows.
		random: rand.New(rand.NewPCG(uint64(n), 1)), txns: newObjectTxns(), get: &pb.RangeRequest{Limit: 1},
		list: m.slot.listPages(n, listPage, m.slot.objects),
	}
	return c.step
}

func (c *mixClient) step(ctx context.Context) error {
	kind := c.random.IntN(1000)
	switch {
	case len(c.objects) == 0:
		return c.create(ctx)
	case kind < mixGets:
		return c.read(ctx)
	case kind < mixGets+mixLists:
		return c.list(ctx)
	case kind < mixGets+mixLists+mixCreates:
		return c.create(ctx)
	}
	i := c.random.IntN(len(c.objects))
	if kind < mixGets+mixLists+mixCreates+mixDeletes {
		return c.remove(ctx, i)
	}
	return c.update(ctx, i)
}

// read gets the object that was written last and compares it with this client's last write.
func (c *mixClient) read(ctx context.Context) error {
	o := c.objects[len(c.objects)-1]
	c.get.Key = o.key
	a, err := c.load.slot.client.rangeRaw(ctx, c.n, c.get, &c.buf)
	if err != nil {
		return err
	}
	if a.kvs != 1 || a.modRevision != o.revision || a.values != valueSize {
		return fmt.Errorf("a get answered %d keys, revision %d of %d, %d bytes of value", a.kvs, a.modRevision,
			o.revision, a.values)
	}
	return nil
}

func (c *mixClient) create(ctx context.Context) error {
	o := mixObject{key: appendKey(nil, c.prefix.name, c.load.keys.Add(1))}
	c.load.sending(c.txns.put.Value)
	if err := c.commit(ctx, c.txns.create, &o, false); err != nil {
		return err
	}
	c.objects = append(c.objects, o)
	c.load.live.Add(1)
	return nil
}

func (c *mixClient) update(ctx context.Context, i int) error {
	c.load.sending(c.txns.put.Value)
	if err := c.commit(ctx, c.txns.update, &c.objects[i], false); err != nil {
		return err
	}
	last := len(c.objects) - 1
	c.objects[i], c.objects[last] = c.objects[last], c.objects[i]
	return nil
}

func (c *mixClient) remove(ctx context.Context, i int) error {
	if err := c.commit(ctx, c.txns.remove, &c.objects[i], true); err != nil {
		return err
	}
	last := len(c.objects) - 1
	c.objects[i] = c.objects[last]
	c.objects = c.objects[:last]
	c.load.live.Add(-1)
	return nil
}

// commit sends txn for o and records the write.
func (c *mixClient) commit(ctx context.Context, txn *pb.TxnRequest, o *mixObject, deletes bool) error {
	revision, err := c.txns.commit(ctx, c.kv, txn, o.key, o.revision)
	if err != nil {
		return err
	}
	o.revision = revision
	c.prefix.acknowledged(o.key, revision, deletes)
	return nil
}
