package logstructured_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
)

// entriesOf reads the writes of a whole log.
func entriesOf(t testing.TB, l log.Log) (writes []log.Entry) {
	t.Helper()
	entries, _, err := l.Read(testContext(t), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind == log.KindPut || e.Kind == log.KindTombstone {
			writes = append(writes, log.Entry{
				Kind: e.Kind, Revision: e.Revision, Sub: e.Sub, Key: e.Key, Value: e.Value,
				CreateRevision: e.CreateRevision, Version: e.Version, Lease: e.Lease,
			})
		}
	}
	return writes
}

func mustStartImport(t testing.TB, l log.Log, opts ls.ImportOptions) *ls.Import {
	t.Helper()
	m, err := ls.StartImport(testContext(t), l, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mustWrite imports writes and flushes them.
func mustWrite(t testing.TB, m *ls.Import, writes []log.Entry) {
	t.Helper()
	for _, e := range writes {
		if err := m.Write(testContext(t), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// hashWrites returns the hashes of writes that are read twice.
func hashWrites(t testing.TB, writes []log.Entry, status *ls.Status) hashkv.Sums {
	t.Helper()
	h := hashkv.NewHistory(status.CompactRevision, status.Revision)
	for i := range writes {
		h.Observe(&writes[i])
	}
	for i := range writes {
		if err := h.Add(&writes[i]); err != nil {
			t.Fatal(err)
		}
	}
	return h.Sums()
}

// TestImportCopiesRandomHistories copies the history of a store in two attempts, and compares the copy with it.
func TestImportCopiesRandomHistories(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	l := openSQLite(t, path)
	defer l.Close()
	run := newSequence(t, startStore(t, openSQLite(t, path), ls.Options{}))
	for range 15 {
		for range 20 {
			run.step(t)
		}
		status, err := run.store.Status(testContext(t), ls.Unguarded)
		if err != nil {
			t.Fatal(err)
		}
		writes := entriesOf(t, l)
		want, err := run.store.HashKV(testContext(t), ls.Unguarded, 0)
		if err != nil {
			t.Fatal(err)
		}

		db := new(memory.Database)
		opts := ls.ImportOptions{Source: "a test", CompactRevision: status.CompactRevision}
		half := len(writes) / 2
		mustWrite(t, mustStartImport(t, db.Open(), opts), writes[:half])
		m := mustStartImport(t, db.Open(), opts)
		if half > 0 && m.Reached() != (ls.ImportPoint{Revision: writes[half-1].Revision, Sub: writes[half-1].Sub}) {
			t.Errorf("an interrupted import has reached %+v", m.Reached())
		}
		mustWrite(t, m, writes)
		sums := hashkv.Sums{Current: want.Hash}
		atCompact, err := run.store.HashKV(testContext(t), ls.Unguarded, max(status.CompactRevision, 1))
		if err != nil {
			t.Fatal(err)
		}
		sums.Compacted = atCompact.Hash
		if err := m.Check(testContext(t)); err != nil {
			t.Error(err)
		}
		got, err := m.HashKV(testContext(t), status.Revision, status.CompactRevision, nil)
		if err != nil || got != sums {
			t.Errorf("hashes %+v, %v; want %+v", got, err, sums)
		}
		if got := hashWrites(t, writes, status); got != sums {
			t.Errorf("the hashes of the writes are %+v; want %+v", got, sums)
		}
		end := ls.ImportEnd{Revision: status.Revision, CompactRevision: status.CompactRevision}
		if err := m.Finish(testContext(t), end); err != nil {
			t.Fatal(err)
		}
		mustCheck(t, db.Open())
		copied := startStore(t, db.Open(), ls.Options{})
		if want.CompactRevision == 0 {
			want.CompactRevision = -1 // compacting revision 0 compacts nothing, and is not copied
		}
		if got, err := copied.HashKV(testContext(t), ls.Unguarded, 0); err != nil || *got != *want {
			t.Errorf("the copy hashes to %+v, %v; want %+v", got, err, want)
		}
		copied.mustPut(t, "one more", "")
		copied.stop(t)
		mustCheck(t, db.Open())
	}
}

func put(revision ls.Revision, key string, create ls.Revision, version int64) log.Entry {
	return log.Entry{
		Kind: log.KindPut, Revision: revision, Key: []byte(key), Value: []byte(key),
		CreateRevision: create, Version: version,
	}
}

// TestImportKeepsRevisionsWithoutWrites keeps the revisions of a history with gaps. A compaction deletes the entries
// that this takes.
func TestImportKeepsRevisionsWithoutWrites(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	m := mustStartImport(t, db.Open(), ls.ImportOptions{Source: "a test", CompactRevision: 10})
	mustWrite(t, m, []log.Entry{
		put(3, "a", 3, 1), put(7, "b", 2, 4), put(11, "a", 3, 2), put(15, "c", 15, 1), put(16, "a", 3, 3),
	})
	if err := m.Finish(testContext(t), ls.ImportEnd{Revision: 20, CompactRevision: 10}); err != nil {
		t.Fatal(err)
	}
	if result := mustCheck(t, db.Open()); result.Revision != 20 || result.CompactRevision != 10 || result.Keys != 3 {
		t.Errorf("%+v", result)
	}
	store := startStore(t, db.Open(), ls.Options{CompactRetention: time.Nanosecond})
	if revision := store.Revision(); revision != 20 {
		t.Errorf("revision %d, want 20", revision)
	}
	for at, want := range map[ls.Revision]int64{9: -1, 10: 2, 14: 2, 15: 3, 19: 3, 21: -1} {
		res, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything, Revision: at})
		if want < 0 && err == nil || want >= 0 && (err != nil || res.Count != want) {
			t.Errorf("at revision %d: %+v, %v; want %d keys", at, res, err, want)
		}
	}
	if revision := store.mustPut(t, "d", ""); revision != 21 {
		t.Errorf("the next write has revision %d, want 21", revision)
	}
	jumps := func() (n int) {
		for _, e := range db.Content().Rows {
			if e.Kind == log.KindJump {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		compact ls.Revision
		jumps   int
	}{{14, 1}, {19, 1}, {21, 0}} {
		if _, err := store.Compact(testContext(t), ls.Unguarded, step.compact, true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "dead jumps are gone", func() bool { return jumps() == step.jumps })
		mustCheck(t, db.Open())
	}
}

// TestUnfinishedImportIsRefused opens a log between the beginning and the end of an import.
func TestUnfinishedImportIsRefused(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	running := startStore(t, db.Open(), ls.Options{RequestTimeout: time.Second})
	opts := ls.ImportOptions{Source: "a test"}
	m := mustStartImport(t, db.Open(), opts)
	if res, err := running.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte("k")}); err == nil {
		t.Errorf("a server writes into an import: %+v", res)
	}
	mustWrite(t, m, []log.Entry{put(2, "a", 2, 1)})
	refused := func(when string) {
		t.Helper()
		_, err := ls.Open(testContext(t), db.Open(), ls.Options{Logger: testLogger(t)})
		_, checked := ls.Check(testContext(t), db.Open(), ls.CheckOptions{}, func(ls.Problem) {})
		for _, err := range []error{err, checked} {
			if !errors.Is(err, ls.ErrImportUnfinished) ||
				!strings.Contains(err.Error(), "run the `stele import` from a test again") {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	refused("after a write")
	for what, other := range map[string]ls.ImportOptions{
		"another source":     {Source: "another test"},
		"another lease mode": {Source: "a test", LeaseMode: ls.LeaseModeEtcd},
	} {
		if _, err := ls.StartImport(testContext(t), db.Open(), other); !errors.Is(err, ls.ErrImportTarget) {
			t.Errorf("%s: %v", what, err)
		}
	}
	second := mustStartImport(t, db.Open(), opts)
	mustWrite(t, second, []log.Entry{put(2, "a", 2, 1), put(3, "b", 3, 1)})
	if err := m.Write(testContext(t), put(3, "b", 3, 1)); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(testContext(t)); !errors.Is(err, ls.ErrImportTarget) {
		t.Errorf("two imports at once: %v", err)
	}
	refused("after two attempts")
	if err := second.Finish(testContext(t), ls.ImportEnd{Revision: 3}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, db.Open())
	for _, source := range []string{"a test", "another test"} {
		_, err := ls.StartImport(testContext(t), db.Open(), ls.ImportOptions{Source: source})
		if !errors.Is(err, ls.ErrImportTarget) || !strings.Contains(err.Error(), "it is not empty") {
			t.Errorf("from %s after the end: %v", source, err)
		}
	}
	startStore(t, db.Open(), ls.Options{}).mustPut(t, "a", "2")
	if _, err := ls.StartImport(testContext(t), db.Open(), opts); !errors.Is(err, ls.ErrImportTarget) {
		t.Errorf("into a log in use: %v", err)
	}
}

// TestImportRefusesInvalidWrites imports writes that a store does not make.
func TestImportRefusesInvalidWrites(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	m := mustStartImport(t, db.Open(), ls.ImportOptions{Source: "a test"})
	mustWrite(t, m, []log.Entry{put(5, "a", 5, 1)})
	leased := put(7, "k", 7, 1)
	leased.Lease = -1
	tombstone := put(7, "k", 7, 1)
	tombstone.Kind = log.KindTombstone
	for what, e := range map[string]log.Entry{
		"no key":                    put(7, "", 7, 1),
		"no version":                put(7, "k", 7, 0),
		"a create revision too far": put(7, "k", 8, 1),
		"a lease that is no TTL":    leased,
		"a tombstone with more":     tombstone,
		"another kind":              {Kind: log.KindRecord, Revision: 7, Key: []byte("import")},
		"a revision before":         put(4, "k", 4, 1),
		"the same again":            put(5, "a", 5, 1),
	} {
		if err := m.Write(testContext(t), e); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	for what, end := range map[string]ls.ImportEnd{
		"a revision before":           {Revision: 4},
		"a compact revision too far":  {Revision: 5, CompactRevision: 6},
		"leases where there are none": {Revision: 5, Leases: []ls.LeaseGrantResult{{ID: 1, TTL: 5}}},
	} {
		if err := m.Finish(testContext(t), end); err == nil {
			t.Errorf("an end with %s is accepted", what)
		}
	}
	if err := m.Finish(testContext(t), ls.ImportEnd{Revision: 5}); err != nil {
		t.Fatal(err)
	}
}

// TestImportGrantsLeasesAtItsEnd starts the TTLs of leases at the end of the import. The history names a lease that had
// ended.
func TestImportGrantsLeasesAtItsEnd(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	m := mustStartImport(t, db.Open(), ls.ImportOptions{Source: "a test", LeaseMode: ls.LeaseModeEtcd})
	ended, leased := put(2, "a", 2, 1), put(4, "b", 4, 1)
	ended.Lease, leased.Lease = 7, 9
	mustWrite(t, m, []log.Entry{ended, {Kind: log.KindTombstone, Revision: 3, Key: []byte("a")}, leased})
	if err := m.Finish(testContext(t), ls.ImportEnd{
		Revision: 4, Leases: []ls.LeaseGrantResult{{ID: 9, TTL: 100}},
		Records: []ls.RecordChange{{Name: "test", Value: []byte("v")}},
	}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, db.Open())
	store := startStore(t, db.Open(), modeEtcd)
	if got := leaseText(t, store, 9); got != `100 s ["b"] at 4` {
		t.Errorf("lease 9: %s", got)
	}
	if value, ok := store.Records().Get("test"); !ok || string(value) != "v" {
		t.Errorf("record: %q, %v", value, ok)
	}
	if _, err := store.LeaseRevoke(testContext(t), ls.Unguarded, 9); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, db.Open())
}
