package server

import (
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/transport"
)

// receiveSnapshot reads a snapshot to its end.
func receiveSnapshot(stream pb.Maintenance_SnapshotClient) (size int, err error) {
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		size += len(piece.Blob)
	}
}

// A client that does not read its snapshot loses its slot to a waiting client, with an error that gives the reason.
func TestStalledClientLosesSnapshotSlot(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	store := newStore(t)
	s, err := New(store,
		Options{Logger: quiet(), Listeners: []*transport.Listener{listen(t, "http://127.0.0.1:0", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	s.snapshots.contended = 2 * time.Second // long enough for a client that reads on a busy machine
	r := run(t, s, store)
	ctx := within(t)
	for _, key := range []string{"a", "b", "c", "d"} {
		put := &logstructured.PutRequest{Key: []byte(key), Value: make([]byte, 1<<20)}
		if _, err := store.Put(ctx, logstructured.Unguarded, put); err != nil {
			t.Fatal(err)
		}
	}
	client := pb.NewMaintenanceClient(r.dial(t))
	var idle []pb.Maintenance_SnapshotClient
	for range maxSnapshots {
		stream, err := client.Snapshot(ctx, &pb.SnapshotRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil { // it has its slot
			t.Fatal(err)
		}
		idle = append(idle, stream)
	}
	third, err := client.Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if size, err := receiveSnapshot(third); err != nil || size < 4<<20 {
		t.Errorf("the client that waited got %d bytes: %v", size, err)
	}
	ended := 0
	for _, stream := range idle {
		_, err := receiveSnapshot(stream)
		switch {
		case err == nil: // it was not needed
		case status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil:
			ended++
		default:
			t.Errorf("a client that did not read: %v", err)
		}
	}
	if ended == 0 {
		t.Error("no client lost its slot")
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("temporary files %v: %v", left, err)
	}
}

// A client that waits for a slot for too long is refused.
func TestSnapshotWaitIsBounded(t *testing.T) {
	slots := newSnapshotSlots()
	slots.wait = time.Millisecond
	for range maxSnapshots {
		if _, err := slots.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := slots.take(within(t)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("without a slot: %v", err)
	}
}

// A slow client keeps its slot as long as it reads, and one that does not read loses it sooner if another waits.
func TestSlowSnapshotKeepsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group sync.WaitGroup
		slots := newSnapshotSlots()
		slots.waiting.Add(1)
		err := slots.send(t.Context(), &group, func(progress func()) error {
			for range 100 {
				time.Sleep(slots.contended - slots.contended/10) //nolint:forbidigo // the clock is synctest's
				progress()
			}
			return nil
		})
		if err != nil {
			t.Errorf("with progress: %v", err)
		}
		for waiting, want := range map[int32]time.Duration{0: slots.stall, 1: slots.contended} {
			slots.waiting.Store(waiting)
			begin := time.Now()
			err := slots.send(t.Context(), &group, func(progress func()) error {
				progress()
				time.Sleep(time.Hour) //nolint:forbidigo // the clock is synctest's
				progress()
				return nil
			})
			if status.Code(err) != codes.DeadlineExceeded || time.Since(begin) != want {
				t.Errorf("without progress, while %d wait, after %s: %v", waiting, time.Since(begin), err)
			}
		}
		group.Wait()
	})
}
