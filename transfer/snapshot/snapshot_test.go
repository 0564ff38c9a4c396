package snapshot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

func put(main, sub int64, key, value string, create, version, lease int64) Revision {
	return Revision{Main: main, Sub: sub, KV: &mvccpb.KeyValue{
		Key: []byte(key), Value: []byte(value), CreateRevision: create, ModRevision: main, Version: version,
		Lease: lease,
	}}
}

func tombstone(main, sub int64, key string) Revision {
	return Revision{Main: main, Sub: sub, Tombstone: true, KV: &mvccpb.KeyValue{Key: []byte(key)}}
}

func equal(a, b Revision) bool {
	return a.Main == b.Main && a.Sub == b.Sub && a.Tombstone == b.Tombstone && proto.Equal(a.KV, b.KV)
}

// write writes a complete snapshot.
func write(t *testing.T, m Meta, revisions ...Revision) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range revisions {
		if err := w.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Finish(m), AppendChecksum(path)); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string, opts OpenOptions) *File {
	t.Helper()
	f, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func read(t *testing.T, f *File, main, sub int64) (all []Revision) {
	t.Helper()
	if err := f.Revisions(main, sub, func(r Revision) error {
		all = append(all, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	history := []Revision{
		put(2, 0, "a", "v\x00\xff", 2, 1, 0), tombstone(3, 0, "a"), put(4, 0, "b", "", 4, 1, -7),
		put(4, 1, "a", "w", 4, 1, 60),
		put(9, 0, "b", "x", 4, 2, 0), tombstone(9, 1, "a"),
	}
	m := Meta{
		Revision: 12, CompactRevision: 3, Index: 17, Term: 2, StorageVersion: "3.7.0", ClusterVersion: "3.7.0",
		Leases: []Lease{{60, 60, 60}, {1 << 62, 100, 9}, {-7, 5, 5}},
		Auth: Auth{
			Enabled: true, Revision: 5, Users: []Item{{"root", []byte("u")}, {"zoe", []byte("z")}},
			Roles: []Item{{"root", []byte("r")}},
		},
	}
	path := write(t, m, history...)
	f := open(t, path, OpenOptions{})
	if got := f.Info(); got.Revision != 12 || got.CompactRevision != 3 || got.Term != 2 || got.ConsistentIndex != 17 ||
		!got.Verified ||
		got.StorageVersion != "3.7.0" || got.ClusterVersion != "3.7.0" {
		t.Errorf("%+v", got)
	}
	if n, err := f.Entries(); err != nil || n != len(history)+1 { // plus the entry that holds the current revision
		t.Errorf("%d entries, %v", n, err)
	}
	for after := range history {
		want := history[after:]
		at := Revision{}
		if after > 0 {
			at = history[after-1]
		}
		if got := read(t, f, at.Main, at.Sub); !slices.EqualFunc(want, got, equal) {
			t.Errorf("after %d/%d: %v, want %v", at.Main, at.Sub, got, want)
		}
	}
	leases, err := f.Leases()
	if err != nil || !slices.Equal(leases, m.Leases) {
		t.Errorf("leases %v, %v, want %v", leases, err, m.Leases)
	}
	auth, err := f.Auth()
	if err != nil || !reflect.DeepEqual(auth, &m.Auth) {
		t.Errorf("auth %v, %v, want %v", auth, err, m.Auth)
	}
	if _, err := Create(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("wrote over a file: %v", err)
	}
}

func TestEmpty(t *testing.T) {
	f := open(t, write(t, Meta{Revision: 1, CompactRevision: -1, Index: 1, Term: 1}), OpenOptions{})
	if got := f.Info(); got.Revision != 1 || got.CompactRevision != -1 {
		t.Errorf("%+v", got)
	}
	if got := read(t, f, 0, 0); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestOrder(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "snapshot.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(w.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an aborted snapshot is there: %v", err)
		}
	}()
	if err := w.Put(put(5, 0, "a", "", 5, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Put(put(5, 0, "b", "", 5, 1, 0)); err == nil {
		t.Error("took a revision twice")
	}
}

// TestCommits writes more data than fits into one transaction of bbolt.
func TestCommits(t *testing.T) {
	value := string(make([]byte, 100<<10))
	var history []Revision
	for i := range int64(200) {
		history = append(history, put(2+i, 0, fmt.Sprint(i), value, 2+i, 1, 0))
	}
	path := write(t, Meta{Revision: 201, CompactRevision: -1, Index: 1, Term: 1}, history...)
	if got := read(t, open(t, path, OpenOptions{}), 0, 0); len(got) != 200 {
		t.Errorf("%d revisions", len(got))
	}
	if stat, err := os.Stat(path); err != nil || stat.Size() > 200*120<<10 || stat.Size()%512 != 32 {
		t.Errorf("%d bytes, %v", stat.Size(), err)
	}
}

func TestDamage(t *testing.T) {
	var history []Revision
	for i := range int64(300) {
		history = append(history, put(2+i, 0, fmt.Sprint(i), "value", 2+i, 1, 0))
	}
	path := write(t, Meta{Revision: 301, CompactRevision: -1, Index: 1, Term: 1}, history...)
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(content []byte) string {
		damaged := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(damaged, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return damaged
	}
	without := intact[:len(intact)-32]
	if _, err := Open(put(without), OpenOptions{}); !errors.Is(err, ErrNoChecksum) {
		t.Errorf("without checksum: %v", err)
	}
	if got := open(t, put(without), OpenOptions{AllowNoChecksum: true}).Info(); got.Verified {
		t.Error("a checksum that is not there is said to be right")
	}
	for _, content := range [][]byte{nil, []byte("x"), make([]byte, 8192), make([]byte, 8192+32), intact[:4096]} {
		if _, err := Open(put(content), OpenOptions{AllowNoChecksum: true}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		content := append([]byte(nil), intact...)
		content[r.IntN(len(content))] ^= byte(1 + r.IntN(255))
		if _, err := Open(put(content), OpenOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a byte was changed: %v", err)
		}
		// Without a checksum the damage may remain undetected, but it must not end the process.
		f, err := Open(put(content[:len(without)]), OpenOptions{AllowNoChecksum: true})
		if err != nil {
			continue
		}
		_ = f.Revisions(0, 0, func(Revision) error { return nil })
		_, _ = f.Leases()
		_ = f.Close()
	}
}
