//go:build soak

package soak

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// smallDisk mounts a tmpfs of the given size.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a tmpfs (this test must run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestFullDisk fills the disk under a running server. Writes fail with the reason; reads and watches continue, also
// after a restart; and writes succeed again once there is space. No acknowledged write is lost, and no refused one
// appears.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, 32*mib)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	s := stele.Start(t, stele.Options{Dir: dir})
	d := &diskClient{
		t: t, kv: pb.NewKVClient(connect.GRPC(t, s.Target)), acked: map[string]string{}, refused: map[string]bool{},
	}
	watch := openWatch(t.Context(), t, connect.GRPC(t, s.Target), &pb.WatchCreateRequest{
		Key: []byte("k"), RangeEnd: []byte("l"),
	})

	var err error
	for err == nil {
		err = d.put()
	}
	t.Logf("full after %d writes: %v", len(d.acked), err)
	if len(d.acked) == 0 || status.Code(err) != codes.ResourceExhausted && status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want an error about space", err)
	}
	d.stillFull()
	d.check()
	seen := map[string]string{}
	received := func(n int) {
		for len(seen) < n {
			w, err := watch.Recv()
			if err != nil {
				t.Fatalf("watch with a full disk: %v", err)
			}
			for _, e := range w.Events {
				seen[string(e.Kv.Key)] = string(e.Kv.Value)
			}
		}
	}
	received(len(d.acked))
	if err := watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
		ProgressRequest: &pb.WatchProgressRequest{},
	}}); err != nil {
		t.Fatal(err)
	}
	if w, err := watch.Recv(); err != nil || len(w.Events) > 0 || w.WatchId != -1 {
		t.Errorf("progress with a full disk: %v %v", w, err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	eventually(t, 20*time.Second, "writes with space again", func() bool { return d.put() == nil })
	t.Logf("the first write succeeded %v after there was space again", time.Since(freed).Round(time.Millisecond))
	for range 20 {
		if err := d.put(); err != nil {
			t.Errorf("write with space again: %v", err)
		}
	}
	d.check()
	received(len(d.acked))

	// Fill the disk again, and restart the server meanwhile.
	for err = nil; err == nil; {
		err = d.put()
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Launch(t.Context()); err != nil {
		t.Fatalf("start on a full disk: %v", err)
	}
	d.kv = pb.NewKVClient(connect.GRPC(t, s.Target))
	d.check()
	t.Logf("%d acknowledged writes, %d refused; lost 0, appeared 0, after SIGKILL and a start on the full disk too",
		len(d.acked), len(d.refused))
}

// diskClient writes new keys and records the outcomes.
type diskClient struct {
	t       *testing.T
	kv      pb.KVClient
	n       int
	acked   map[string]string
	refused map[string]bool
}

func (d *diskClient) put() error {
	d.n++
	key := fmt.Sprintf("k%06d", d.n)
	value := fmt.Sprintf("v%d", d.n) + string(bytes.Repeat([]byte{'.'}, 50<<10))
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	_, err := d.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err == nil {
		d.acked[key] = value
	} else {
		d.refused[key] = true
	}
	return err
}

// stillFull checks that further writes, even small ones, fail fast with the reason.
func (d *diskClient) stillFull() {
	for range 5 {
		start := time.Now()
		err := d.put()
		if took := time.Since(start); err != nil && took > 5*time.Second {
			d.t.Errorf("a write to the full disk took %v to fail with %v", took, err)
		}
	}
}

// check reads all keys: exactly the acknowledged writes must exist.
func (d *diskClient) check() {
	d.t.Helper()
	r, err := d.kv.Range(d.t.Context(), &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")})
	if err != nil {
		d.t.Fatalf("read: %v", err)
	}
	found := map[string]string{}
	for _, kv := range r.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	for key, value := range d.acked {
		if found[key] != value {
			d.t.Errorf("acknowledged %s is lost", key)
		}
	}
	for key := range found {
		if _, ok := d.acked[key]; !ok {
			d.t.Errorf("%s appeared, although its write was refused", key)
		}
	}
}
