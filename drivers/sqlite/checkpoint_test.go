package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

// TestWALIsBounded appends without a pause. The WAL must not grow without bound, and a reader may only delay its
// restart.
func TestWALIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	l, err := Open(context.Background(), path, Options{Logger: quiet(), CheckpointInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	entries := drivertest.BenchEntries(8)
	for i := range entries {
		entries[i].Value = make([]byte, 64<<10)
	}
	var head log.Head
	appendMiB := func(n int) (largest int64) {
		t.Helper()
		for range 2 * n {
			id := head.ID + 1
			if err := l.Append(ctx, head, id, entries); err != nil {
				t.Fatal(err)
			}
			head = log.Head{Position: head.Position + 8, ID: id}
			info, err := os.Stat(path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, info.Size())
		}
		return largest
	}
	total := 100
	if raceDetector {
		total = 60
	}
	largest := appendMiB(total)
	t.Logf("the WAL grew to %d MiB while %d MiB were appended", largest>>20, total)
	if largest > int64(total)<<20/2 {
		t.Error("it is not bounded")
	}
	// A slow scan keeps its snapshot, so that the WAL cannot restart. No call waits for it.
	waited := false
	_, err = l.Scan(ctx, 0, func([]log.Entry) error {
		if !waited {
			t.Logf("the WAL grew to %d MiB during a scan", appendMiB(5)>>20)
		}
		waited = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !os.IsNotExist(err) {
		t.Errorf("the WAL is still there after Close: %v", err)
	}
}

// TestForgottenReader keeps a read transaction of another connection open. The WAL grows meanwhile, with one warning,
// and restarts afterwards.
func TestForgottenReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	logger, messages := test.NewNullLogger()
	l, err := Open(context.Background(), path, Options{Logger: logrus.NewEntry(logger),
		CheckpointInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	reader, err := openConn(path, readWrite, l.cfg.vfs)
	if err == nil {
		err = reader.exec(`BEGIN`)
	}
	if err == nil {
		_, err = reader.int64s(`SELECT count(*) FROM sqlite_master`, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	entries := drivertest.BenchEntries(8)
	for i := range entries {
		entries[i].Value = make([]byte, 64<<10)
	}
	var head log.Head
	size := func() int64 {
		id := head.ID + 1
		if err := l.Append(context.Background(), head, id, entries); err != nil {
			t.Fatal(err)
		}
		head = log.Head{Position: head.Position + 8, ID: id}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	deadline := time.Now().Add(30 * time.Second)
	for size() < 2*walWarnBytes || len(messages.AllEntries()) == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("the WAL has %d MiB, without a warning", size()>>20)
		}
	}
	if err := reader.close(); err != nil {
		t.Fatal(err)
	}
	for size() > 2*walRestartBytes {
		if time.Now().After(deadline) {
			t.Fatalf("the WAL has %d MiB long after the reader", size()>>20)
		}
	}
	if all := messages.AllEntries(); len(all) != 1 || all[0].Level != logrus.WarnLevel {
		t.Errorf("logged %v", all)
	}
}
