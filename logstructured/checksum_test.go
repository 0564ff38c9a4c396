package logstructured_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// changes damage one column of a row each. Those of values are of the same length.
var changes = map[string]func(*log.Entry){
	"id":              func(e *log.Entry) { e.ID ^= 1 << 40 },
	"time":            func(e *log.Entry) { e.Time ^= 1 << 20 },
	"time, high bits": func(e *log.Entry) { e.Time ^= 1 << 35 },
	"kind":            func(e *log.Entry) { e.Kind = log.KindTombstone },
	"revision":        func(e *log.Entry) { e.Revision++ },
	"sub":             func(e *log.Entry) { e.Sub++ },
	"key":             func(e *log.Entry) { e.Key = []byte("b") },
	"create revision": func(e *log.Entry) { e.CreateRevision-- },
	"version":         func(e *log.Entry) { e.Version++ },
	"lease":           func(e *log.Entry) { e.Lease = 5 },
	"checksum":        func(e *log.Entry) { e.Checksum ^= 1 },
	"checksum, high":  func(e *log.Entry) { e.Checksum ^= 1 << 60 },
	"value":           func(e *log.Entry) { e.Value = []byte("x") },
	"value's length":  func(e *log.Entry) { e.Value, e.ValueSize = nil, 0 },
}

// TestChecksum verifies an entry after a change of each column, and an entry in the place of another.
func TestChecksum(t *testing.T) {
	t.Parallel()
	entry := log.Entry{
		Kind: log.KindPut, Revision: 7, Sub: 1, Key: []byte("a"), Value: []byte("v"), ValueSize: 1,
		CreateRevision: 3, Version: 2, Lease: 9, Time: 1_800_000_000_000,
	}
	entries := []log.Entry{entry, entry}
	log.Seal(log.Head{Position: 4, ID: 1}, 77, entries)
	for i := range entries {
		entries[i].Checksum = entries[i].Checksum.At(entry.Time)
		if err := entries[i].Verify(); err != nil || entries[i].Position != log.Position(5+i) || entries[i].ID != 77 {
			t.Fatalf("%+v: %v", entries[i], err)
		}
	}
	for name, change := range changes {
		changed := entries[0]
		change(&changed)
		if err := changed.Verify(); !errors.Is(err, log.ErrCorrupt) || !strings.Contains(err.Error(), "position 5 ") {
			t.Errorf("%s: %v", name, err)
		}
		if err := changed.VerifyMetadata(); (err == nil) != (name == "value") {
			t.Errorf("%s: metadata: %v", name, err)
		}
		changed.Checksum = 0
		if err := changed.Verify(); err != nil {
			t.Errorf("%s, without a checksum: %v", name, err)
		}
	}
	swapped := entries[0]
	swapped.Position = entries[1].Position
	if swapped.Verify() == nil {
		t.Error("a row in the place of another verifies")
	}
}

// TestStartRefusesDamage opens a store on a log with one damaged row.
func TestStartRefusesDamage(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	store := startStore(t, db.Open(), ls.Options{})
	for range 3 {
		store.mustPut(t, "a", "v")
	}
	store.stop(t)
	whole := db.Content()
	for name, change := range changes {
		db.SetContent(whole)
		changeRow(db, 2, change)
		_, err := ls.Open(testContext(t), db.Open(), ls.Options{Logger: testLogger(t)})
		switch {
		case name == "value": // is not read at the start
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.Is(err, log.ErrCorrupt) || !strings.Contains(err.Error(), "position 2 "):
			t.Errorf("%s: %v", name, err)
		}
		_, problems := checkAll(t, db.Open())
		if len(problems) == 0 || !strings.HasPrefix(problems[0], "position 2: is damaged: ") {
			t.Errorf("%s: check reports %q", name, problems)
		}
	}
}

// TestDamagedValueIsNotServed reads a value whose row was damaged after the start.
func TestDamagedValueIsNotServed(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	store := startStore(t, db.Open(), ls.Options{ValueCacheBytes: -1})
	store.mustPut(t, "a", "v")
	store.mustPut(t, "b", "v")
	for _, change := range []func(*log.Entry){changes["value"], changes["value's length"], changes["checksum"]} {
		whole := db.Content()
		changeRow(db, 1, change)
		_, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
		if !errors.Is(err, log.ErrCorrupt) {
			t.Errorf("range: %v", err)
		}
		if _, err := store.Range(testContext(t), ls.Unguarded,
			&ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("b")}}); err != nil {
			t.Errorf("range of the intact row: %v", err)
		}
		if _, err := store.Put(testContext(t), ls.Unguarded,
			&ls.PutRequest{Key: []byte("a"), Lease: 60, IgnoreValue: true}); !errors.Is(err, log.ErrCorrupt) {
			t.Errorf("put that keeps the value: %v", err)
		}
		if _, err := store.HashKV(testContext(t), ls.Unguarded, 0); !errors.Is(err, log.ErrCorrupt) {
			t.Errorf("hash: %v", err)
		}
		ws := store.NewWatchStream()
		ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, StartRevision: 2})
		for {
			r, err := ws.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Events) > 0 {
				t.Errorf("watch: %+v", r)
			}
			if r.Canceled {
				if !errors.Is(r.Err, log.ErrCorrupt) {
					t.Errorf("watch ends with %v", r.Err)
				}
				break
			}
		}
		ws.Close()
		db.SetContent(whole)
		if _, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err != nil {
			t.Errorf("after the repair: %v", err)
		}
	}
}

// TestFollowerDoesNotApplyDamage damages a row that another replica appended, and repairs it later.
func TestFollowerDoesNotApplyDamage(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	follower := startStore(t, db.Open(), ls.Options{RequestTimeout: 200 * time.Millisecond})
	follower.mustPut(t, "a", "v")
	other := []log.Entry{put(3, "a", 2, 2)}
	other[0].Value = []byte("w")
	log.Seal(db.Content().Head, 99, other)
	other[0].Value = []byte("x")
	db.Edit(func(c *memory.Content) {
		c.Rows, c.Head = append(c.Rows, other[0]), log.Head{Position: 2, ID: 99}
	})
	eventually(t, "the write fails because of the damage", func() bool {
		_, err := follower.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte("b")})
		return errors.Is(err, log.ErrCorrupt)
	})
	if r, err := follower.Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything, Serializable: true}); err != nil || string(r.KVs[0].Value) != "v" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := follower.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err == nil {
		t.Error("a linearizable read was answered without the damaged row")
	}
	changeRow(db, 2, func(e *log.Entry) { e.Value = []byte("w") })
	eventually(t, "the follower continues", func() bool {
		r, err := follower.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
		return err == nil && string(r.KVs[0].Value) == "w"
	})
}
