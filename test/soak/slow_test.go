//go:build soak

package soak

import (
	"bytes"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

const (
	// slowLimit is the most that the server may grow while a watcher leaves 200 MB unread.
	slowLimit = 64 * mib
	// messageLimit bounds the responses of a watcher that catches up over small revisions.
	messageLimit = 16 * mib
)

// TestSlowWatcher leaves a watch stream unread while clients write 200 MB. The server needs no memory for it, delays no
// other client, and finally delivers all events in order.
func TestSlowWatcher(t *testing.T) {
	const events, keys, size = 2000, 50, 100 << 10
	// The value cache is small, so that the server's memory shows the need of watching.
	s := stele.Start(t, stele.Options{Args: []string{"--value-cache-bytes", fmt.Sprint(8 * mib)}})
	kv := pb.NewKVClient(connect.GRPC(t, s.Target))
	write := func(n int) {
		value := bytes.Repeat([]byte{'x'}, size)
		group, ctx := errgroup.WithContext(t.Context())
		group.SetLimit(8)
		for i := range n {
			group.Go(func() error {
				_, err := kv.Put(ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "key-%02d", i%keys), Value: value})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	// The first writes show the memory that writing needs.
	peak := watermark(func() int64 { return rss(t, s) })
	write(events)
	before := peak()

	everything := &pb.WatchCreateRequest{Key: []byte("key-"), RangeEnd: []byte("key."), PrevKv: true}
	slow := openWatch(t.Context(), t, connect.GRPC(t, s.Target), everything)
	fast := openWatch(t.Context(), t, connect.GRPC(t, s.Target), &pb.WatchCreateRequest{
		Key: everything.Key, RangeEnd: everything.RangeEnd,
	})
	const first = events + 2
	var group errgroup.Group
	group.Go(func() error { return receive(fast, first, events, size) })
	peak = watermark(func() int64 { return rss(t, s) })
	write(events)
	took := timed(func() {
		if err := group.Wait(); err != nil {
			t.Fatalf("the watcher that reads: %v", err)
		}
	})
	grown := peak() - before
	t.Logf("resident: %d MiB at most while writing, %d MiB more while %d MiB stayed unread; the watcher that reads "+
		"was done %v after the last write",
		before/mib, grown/mib, events*size/mib, took)
	if grown > slowLimit {
		t.Errorf("the server grew by %d bytes, want at most %d", grown, slowLimit)
	}
	peak = watermark(func() int64 { return rss(t, s) })
	took = timed(func() {
		if err := receive(slow, first, events, size); err != nil {
			t.Fatalf("the watcher that did not read: %v", err)
		}
	})
	t.Logf("the watcher that did not read got its %d events in %v, the server had %d MiB at most", events,
		took, peak()/mib)
}

// receive reads n events of one revision each, starting at the revision first.
func receive(watch pb.Watch_WatchClient, first int64, n, size int) error {
	for next := first; next < first+int64(n); {
		w, err := watch.Recv()
		if err != nil {
			return fmt.Errorf("after revision %d: %w", next-1, err)
		}
		if size := proto.Size(w); size > messageLimit {
			return fmt.Errorf("a response of %d bytes after revision %d, want at most %d", size, next-1, messageLimit)
		}
		for _, e := range w.Events {
			if e.Kv.ModRevision != next || len(e.Kv.Value) != size {
				return fmt.Errorf("revision %d with %d bytes, want %d with %d", e.Kv.ModRevision,
					len(e.Kv.Value), next, size)
			}
			next++
		}
	}
	return nil
}
