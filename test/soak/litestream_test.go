//go:build litestream

package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

// litestreamKeys is the number of keys; each is written several times.
const litestreamKeys = 500

var allKeys = &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}

// TestLitestream replicates the file of a server that writes continuously, kills the server, and starts another one on
// the restored file: it has every key, value and revision.
func TestLitestream(t *testing.T) {
	dir := t.TempDir()
	file, replica := filepath.Join(dir, "stele.db"), filepath.Join(dir, "replica")
	binary := process.Program{
		Name: "litestream", Package: "github.com/benbjohnson/litestream/cmd/litestream", Dir: "litestream",
	}.Binary(t, dir)

	s := stele.Start(t, stele.Options{Dir: dir, Endpoint: "sqlite://" + file + "?checkpoint=external"})
	sidecar := replicate(t, binary, file, replica)
	conn := connect.GRPC(t, s.Target)
	kv := pb.NewKVClient(conn)

	// The time suffices for Litestream to copy the log into the file more than once.
	writing, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var group errgroup.Group
	for client := range 4 {
		group.Go(func() error {
			for n := 0; writing.Err() == nil; n++ {
				value := append(fmt.Appendf(nil, "%d-%d", client, n), bytes.Repeat([]byte{'.'}, 2000)...)
				key := fmt.Appendf(nil, "key-%03d", (n*4+client)%litestreamKeys)
				if _, err := kv.Put(context.WithoutCancel(writing),
					&pb.PutRequest{Key: key, Value: value}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("write during replication: %v", err)
	}
	want, err := kv.Range(t.Context(), allKeys)
	if err != nil {
		t.Fatal(err)
	}
	db, wal := size(t, file), size(t, file+"-wal")
	t.Logf("%d revisions written; file %.1f MiB, write-ahead log %.1f MiB", want.Header.Revision, float64(db)/mib,
		float64(wal)/mib)
	if db < mib {
		t.Errorf("the file has %d bytes: Litestream has not copied the log into it", db)
	}

	// No client writes any more, so the replica becomes complete.
	restored := filepath.Join(dir, "restored.db")
	start := time.Now()
	eventually(t, 60*time.Second, "the replica is complete", func() bool {
		return restore(t, binary, replica, restored) && compareRestored(t, restored, want)
	})
	t.Logf("the replica was complete %v after the last write", time.Since(start).Round(time.Millisecond))
	if err := errors.Join(s.Kill(), sidecar.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	if !restore(t, binary, replica, restored) || !compareRestored(t, restored, want) {
		t.Error("the file restored after both were killed differs")
	}
}

// replicate runs Litestream until the end of the test.
func replicate(t *testing.T, binary, file, replica string) *exec.Cmd {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(binary, "replicate", file, "file://"+replica)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("litestream: %s", &out)
		}
	})
	return cmd
}

// restore restores the database at output. It returns false if the replica is empty.
func restore(t *testing.T, binary, replica, output string) bool {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.RemoveAll(output + suffix); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(binary, "restore", "-o", output, "file://"+replica).CombinedOutput()
	if err != nil {
		t.Logf("restore: %v: %s", err, out)
	}
	return err == nil
}

// compareRestored starts a server on the restored file and compares its keys with want.
func compareRestored(t *testing.T, file string, want *pb.RangeResponse) bool {
	t.Helper()
	s := stele.Start(t, stele.Options{Dir: filepath.Dir(file), Endpoint: "sqlite://" + file})
	got, err := pb.NewKVClient(connect.GRPC(t, s.Target)).Range(t.Context(), allKeys)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if got.Header.Revision > want.Header.Revision {
		t.Fatalf("restored revision %d, beyond %d", got.Header.Revision, want.Header.Revision)
	}
	if got.Header.Revision < want.Header.Revision {
		return false
	}
	if len(got.Kvs) != len(want.Kvs) {
		t.Fatalf("restored %d keys, want %d", len(got.Kvs), len(want.Kvs))
	}
	for i, kv := range got.Kvs {
		if !proto.Equal(kv, want.Kvs[i]) {
			t.Fatalf("restored %v, want %v", kv, want.Kvs[i])
		}
	}
	return true
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
