//go:build unix

package server

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// benchClients is the number of concurrent requests, over benchConns connections.
const (
	benchClients = 64
	benchConns   = 8
)

// benchmark calls op from benchClients goroutines. The result includes the cost of the clients, so it serves only to
// compare versions.
func benchmark(b *testing.B, op func(kv pb.KVClient, i int64) error) {
	r := serve(b, nil)
	var clients []pb.KVClient
	for range benchConns {
		clients = append(clients, pb.NewKVClient(r.dial(b)))
	}
	for i := range 1000 {
		if _, err := clients[0].Put(b.Context(),
			&pb.PutRequest{Key: fmt.Appendf(nil, "key-%d", i), Value: make([]byte, 1024)}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetParallelism(benchClients / 2)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	defer func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") }()
	var n, workers atomic.Int64
	b.RunParallel(func(p *testing.PB) {
		kv := clients[workers.Add(1)%benchConns]
		for p.Next() {
			if err := op(kv, n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// cpuTime returns the processor time that the process has used. Other work on the machine changes it less than the
// elapsed time.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkGet(b *testing.B) {
	benchmark(b, func(kv pb.KVClient, i int64) error {
		_, err := kv.Range(b.Context(), &pb.RangeRequest{Key: fmt.Appendf(nil, "key-%d", i%1000)})
		return err
	})
}

func BenchmarkSerializableGet(b *testing.B) {
	benchmark(b, func(kv pb.KVClient, i int64) error {
		_, err := kv.Range(b.Context(), &pb.RangeRequest{Key: fmt.Appendf(nil, "key-%d", i%1000), Serializable: true})
		return err
	})
}

func BenchmarkPut(b *testing.B) {
	value := make([]byte, 1024)
	benchmark(b, func(kv pb.KVClient, i int64) error {
		_, err := kv.Put(b.Context(), &pb.PutRequest{Key: fmt.Appendf(nil, "key-%d", i%1000), Value: value})
		return err
	})
}

func BenchmarkUpdateTxn(b *testing.B) {
	value := make([]byte, 1024)
	benchmark(b, func(kv pb.KVClient, i int64) error {
		key := fmt.Appendf(nil, "key-%d", i%1000)
		_, err := kv.Txn(b.Context(), &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: key, Target: pb.Compare_MOD,
				TargetUnion: &pb.Compare_ModRevision{ModRevision: i}}},
			Success: opsOf(&pb.PutRequest{Key: key, Value: value}),
			Failure: opsOf(&pb.RangeRequest{Key: key}),
		})
		return err
	})
}
