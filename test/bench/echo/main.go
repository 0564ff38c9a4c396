// Command echo is etcd's KV service on plain grpc-go, over a map in memory. It has no disk, no history and no
// transactions, so its cost is the cost of gRPC and etcd's messages. No server with both is faster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

func main() {
	address := flag.String("listen-address", "127.0.0.1:0", "host:port to serve on")
	flag.Parse()
	if err := serve(*address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, &kv{kvs: map[string]*mvccpb.KeyValue{}})
	context.AfterFunc(ctx, server.Stop)
	return server.Serve(listener)
}

// kv implements the part of etcd's KV service that the put and get workloads need.
type kv struct {
	pb.UnimplementedKVServer

	mu       sync.RWMutex
	revision int64
	kvs      map[string]*mvccpb.KeyValue
}

func (s *kv) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.kvs[string(r.Key)] = &mvccpb.KeyValue{
		Key: r.Key, Value: r.Value, CreateRevision: s.revision, ModRevision: s.revision, Version: 1,
	}
	return &pb.PutResponse{Header: &pb.ResponseHeader{Revision: s.revision}}, nil
}

var errRange = errors.New("this server lists nothing: it is there for single keys")

func (s *kv) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: s.revision}}
	switch {
	case len(r.RangeEnd) == 0:
		if found, ok := s.kvs[string(r.Key)]; ok {
			resp.Kvs, resp.Count = []*mvccpb.KeyValue{found}, 1
		}
	case r.CountOnly: // of a prefix
		for key := range s.kvs {
			if strings.HasPrefix(key, string(r.Key)) {
				resp.Count++
			}
		}
	default:
		return nil, errRange
	}
	return resp, nil
}
