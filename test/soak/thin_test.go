//go:build soak

package soak

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// thinDisk is a file system on a sparse image in a smaller file system: once that is full, writes succeed and syncs
// fail.
type thinDisk struct {
	t                 *testing.T
	pool, image, root string
}

func newThinDisk(t *testing.T, pool int) *thinDisk {
	t.Helper()
	d := &thinDisk{t: t, pool: smallDisk(t, pool), root: t.TempDir()}
	d.image = filepath.Join(d.pool, "image")
	d.command("truncate", "--size=1G", d.image)
	d.command("mkfs.ext4", "-q", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *thinDisk) command(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s (this test has to be root, with loop devices): %v: %s", name,
			strings.Join(args, " "), err, out)
	}
}

func (d *thinDisk) mount() { d.t.Helper(); d.command("mount", "-o", "loop", d.image, d.root) }

func (d *thinDisk) unmount() { d.t.Helper(); d.command("umount", d.root) }

// free returns the free space of the pool.
func (d *thinDisk) free() uint64 {
	d.t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.pool, &st); err != nil {
		d.t.Fatal(err)
	}
	return st.Bavail * uint64(st.Bsize)
}

// enlarge makes the pool as large as the image.
func (d *thinDisk) enlarge() {
	d.t.Helper()
	if err := syscall.Mount("tmpfs", d.pool, "tmpfs", syscall.MS_REMOUNT, "size=1100m"); err != nil {
		d.t.Fatal(err)
	}
}

// TestThinDisk runs a server for two seconds on a disk that fails to store accepted writes. After the next mount, which
// drops all caches, every acknowledged write must exist. STELE_TEST_BINARY names another server for comparison.
func TestThinDisk(t *testing.T) {
	d := newThinDisk(t, 56*mib)
	opts := stele.Options{Dir: filepath.Join(d.root, "data"), Binary: os.Getenv("STELE_TEST_BINARY")}
	if err := os.Mkdir(opts.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := stele.Start(t, opts)
	w := &thinWriters{kv: pb.NewKVClient(connect.GRPC(t, s.Target)), acked: map[string]bool{}}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 8 {
		w.running.Go(func() { w.run(ctx, i) })
	}
	eventually(t, time.Minute, "a full pool", func() bool { return d.free() == 0 })
	full := w.count.Load()
	<-time.After(2 * time.Second) // the time that the pool stays full is the subject
	t.Logf("%d writes were acknowledged until the pool was full, %d more until it was enlarged", full,
		w.count.Load()-full)
	d.enlarge()
	enlarged := w.count.Load()
	select {
	case <-s.Exited():
		t.Log("the server has ended")
	case <-time.After(5 * time.Second):
		t.Logf("the server went on and acknowledged %d more", w.count.Load()-enlarged)
	}
	cancel()
	w.running.Wait()
	if err := s.Stop(); err != nil {
		t.Logf("stop: %v", err)
	}
	for line := range strings.Lines(s.Logs()) {
		if strings.Contains(line, "sync") || strings.Contains(line, "heckpoint") || strings.Contains(line, "on disk") {
			t.Log(strings.TrimSpace(line))
		}
	}
	d.unmount()
	d.mount()
	w.verify(t, stele.Start(t, stele.Options{Dir: opts.Dir}))
}

// thinWriters put keys of their own, and record which puts were acknowledged.
type thinWriters struct {
	kv      pb.KVClient
	running sync.WaitGroup
	count   atomic.Int64

	mu    sync.Mutex
	acked map[string]bool
}

func (w *thinWriters) run(ctx context.Context, writer int) {
	value := make([]byte, 2048)
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("k/%d/%08d", writer, n)
		if _, err := w.kv.Put(ctx, &pb.PutRequest{Key: []byte(key), Value: value}); err != nil {
			<-time.After(time.Millisecond)
			continue
		}
		w.count.Add(1)
		w.mu.Lock()
		w.acked[key] = true
		w.mu.Unlock()
	}
}

func (w *thinWriters) verify(t *testing.T, s *stele.Server) {
	t.Helper()
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	res, err := pb.NewKVClient(connect.GRPC(t, s.Target)).Range(t.Context(),
		&pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, kv := range res.Kvs {
		there[string(kv.Key)] = true
	}
	lost := 0
	for key := range w.acked {
		if !there[key] {
			lost++
		}
	}
	t.Logf("%d writes were acknowledged, %d keys are there, %d are lost", len(w.acked), len(there), lost)
	if lost > 0 {
		t.Errorf("%d acknowledged writes are lost", lost)
	}
}
