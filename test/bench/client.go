package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// client is a fixed set of connections to one server, or to the replicas of one.
type client struct {
	conns []*grpc.ClientConn
	// replicas is the number of addresses of the connections.
	replicas int
}

// newClient makes at least the given number of connections, and as many to each address.
func newClient(addresses []string, connections int) (*client, error) {
	c := &client{replicas: len(addresses)}
	for n := 0; n < connections || n%len(addresses) != 0; n++ {
		conn, err := grpc.NewClient("passthrough:///"+addresses[n%len(addresses)],
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			// The client soon retries a server that is only starting.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, MaxDelay: 20 * time.Millisecond},
				MinConnectTimeout: time.Second,
			}),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{encoding.GetCodecV2(proto.Name)}),
				grpc.MaxCallRecvMsgSize(math.MaxInt32)))
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *client) close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// replica returns the index of the replica of the n-th client.
func (c *client) replica(n int) int { return n % c.replicas }

// conn returns the connection of the n-th client.
func (c *client) conn(n int) *grpc.ClientConn { return c.conns[n%len(c.conns)] }

// kv returns the stub of the n-th client.
func (c *client) kv(n int) pb.KVClient { return pb.NewKVClient(c.conn(n)) }

// rawMessage receives an answer without decoding it.
type rawMessage struct{ data []byte }

// codec is protobuf's, except that it leaves a rawMessage encoded.
type codec struct{ encoding.CodecV2 }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*rawMessage); ok {
		raw.data = append(raw.data[:0], make([]byte, data.Len())...)
		data.CopyTo(raw.data)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// rangeRaw sends r and scans the answer.
func (c *client) rangeRaw(ctx context.Context, n int, r *pb.RangeRequest, buf *rawMessage) (rangeAnswer, error) {
	if err := c.conn(n).Invoke(ctx, pb.KV_Range_FullMethodName, r, buf); err != nil {
		return rangeAnswer{}, err
	}
	return scanRange(buf.data)
}

// revision returns the current revision, by a linearizable read of a key that does not exist, as kube-apiserver does.
func revision(ctx context.Context, kv pb.KVClient) (int64, error) {
	resp, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("/registry/bench"), Limit: 1})
	if err != nil {
		return 0, err
	}
	return resp.Header.GetRevision(), nil
}

// count returns the number of keys with prefix, of replicas through the last one.
func (c *client) count(ctx context.Context, prefix string) (int64, error) {
	resp, err := c.kv(c.replicas-1).Range(ctx, &pb.RangeRequest{
		Key: []byte(prefix), RangeEnd: prefixEnd(prefix), CountOnly: true,
	})
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", prefix, err)
	}
	return resp.Count, nil
}

// prefixEnd returns the range end of all keys with prefix, whose last byte is not 0xff.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++
	return end
}
