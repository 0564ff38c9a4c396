package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/logstructured"
)

func TestAppendReadReopen(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a/b/state.db")
	l, err := Open(ctx, path, Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	entries := benchEntries(73)
	entries[3].Key, entries[3].Value = []byte{0, 0xff}, nil
	if err := l.Append(ctx, logstructured.Head{}, 7, entries); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(ctx, logstructured.Head{}, 7, entries); !errors.Is(err, logstructured.ErrConflict) {
		t.Fatalf("err %v, want a conflict", err)
	}
	fill(t, l, 10_000, 100)
	if err := l.Delete(ctx, []logstructured.Position{1, 2, 3, 10_073}, 50); err != nil {
		t.Fatal(err)
	}
	got, end, err := l.Read(ctx, 0, 10)
	if err != nil || len(got) != 10 || got[0].Position != 4 || string(got[0].Key) != "\x00\xff" || end.Floor != 50 || end.Position != 10_073 {
		t.Fatalf("Read: %+v, %v, %v", got, end, err)
	}
	if err := l.Defragment(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(ctx, path, Options{Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	n := 0
	again, err := l.Scan(ctx, 0, func(e []logstructured.Entry) error { n += len(e); return nil })
	if err != nil || n != 10_070 || again.Head != end.Head || again.ClusterID != end.ClusterID {
		t.Fatalf("Scan: %d entries, %+v, %v", n, again, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
