package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

func (s suite) freshLog(t *testing.T) {
	l := s.fresh(t, 1)[0]
	ctx := testContext(t)
	end := mustEnd(t, l)
	if end.Head != (log.Head{}) || end.Floor != 0 {
		t.Errorf("end of a fresh log is %v with floor %d, want the zero head and 0", end.Head, end.Floor)
	}
	if end.ClusterID == 0 {
		t.Error("cluster ID is 0")
	}
	if entries, got, err := l.Read(ctx, 0, 10); err != nil || len(entries) != 0 || got.Head != (log.Head{}) {
		t.Errorf("Read: %d entries, %v, %v", len(entries), got.Head, err)
	}
	if _, err := l.Scan(ctx, 0, func([]log.Entry) error { return errors.New("called") }); err != nil {
		t.Errorf("Scan: %v", err)
	}
	if v, err := l.Values(ctx, []log.Position{1}); err != nil || v.Found[0] {
		t.Errorf("Values: %+v, %v", v, err)
	}
	if v, err := l.Values(ctx, nil); err != nil || len(v.Values) != 0 {
		t.Errorf("Values of nothing: %+v, %v", v, err)
	}
	if err := l.Delete(ctx, log.Head{}, []log.Position{1, 2}, 0); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

// sameEntry compares all fields except ValueSize.
func sameEntry(a, b log.Entry) bool {
	key := bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	a.Key, a.Value, a.ValueSize, b.Key, b.Value, b.ValueSize = nil, nil, 0, nil, nil, 0
	return key && fmt.Sprint(a) == fmt.Sprint(b)
}

func (s suite) appendStoresAllFields(t *testing.T) {
	logs := s.fresh(t, 2)
	want := []log.Entry{
		{Kind: log.KindPut, Revision: 2, Key: []byte("a"), Value: []byte("1"), CreateRevision: 2, Version: 1,
			Lease: 1 << 40},
		{Kind: log.KindPut, Revision: 2, Sub: 1, Key: []byte("b"), CreateRevision: 2, Version: 1, Lease: -5},
		{Kind: log.KindTombstone, Revision: 3, Key: []byte("a")},
		{Kind: log.KindCompaction, Revision: 3},
		{Kind: log.KindCompaction, Revision: 1<<62 + 1, Value: []byte("more")},
		{Kind: log.Kind(200), Revision: 4, Key: []byte{1}, Value: []byte("a kind of a later version")},
	}
	id := log.AppendID(-1 << 63)
	if err := logs[0].Append(testContext(t), log.Head{}, id, want); err != nil {
		t.Fatal(err)
	}
	for i, e := range want {
		if e.Position != log.Position(i+1) || e.ID != id || e.Time == 0 || e.Time != want[0].Time {
			t.Errorf("entry %d after Append: position %d, ID %x, time %d", i, e.Position, uint64(e.ID), e.Time)
		}
	}
	for _, l := range logs {
		got := readAll(t, l, 0)
		if !slices.EqualFunc(got, want, sameEntry) {
			t.Errorf("Read:\n%v\nwant\n%v", got, want)
		}
		for i := range got {
			if got[i].ValueSize != len(want[i].Value) {
				t.Errorf("Read: ValueSize of entry %d is %d, want %d", i, got[i].ValueSize, len(want[i].Value))
			}
		}
		var scanned []log.Entry
		end, err := l.Scan(testContext(t), 0, func(batch []log.Entry) error {
			scanned = append(scanned, batch...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		withoutValues := slices.Clone(want)
		for i := range withoutValues {
			if withoutValues[i].Kind == log.KindPut {
				withoutValues[i].Value = nil
			}
		}
		if !slices.EqualFunc(scanned, withoutValues, sameEntry) {
			t.Errorf("Scan:\n%v\nwant\n%v", scanned, withoutValues)
		}
		for i := range scanned {
			if scanned[i].ValueSize != len(want[i].Value) {
				t.Errorf("Scan: ValueSize of entry %d is %d, want %d", i, scanned[i].ValueSize, len(want[i].Value))
			}
		}
		if end.Head != (log.Head{Position: 6, ID: id}) {
			t.Errorf("end is %v", end.Head)
		}
	}
}

func (s suite) headIsPositionAndID(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	first := mustAppend(t, logs[0], log.Head{}, puts(2, 3))
	second := mustAppend(t, logs[1], first, puts(3, 2))
	for _, wrong := range []log.Head{
		{},
		first,
		{Position: second.Position, ID: first.ID},
		{Position: second.Position, ID: 0},
		{Position: second.Position, ID: -second.ID},
		{Position: second.Position - 1, ID: second.ID},
		{Position: second.Position + 1, ID: second.ID},
		{Position: 0, ID: second.ID},
	} {
		for i, l := range logs {
			if err := l.Append(ctx, wrong, newID(), puts(4, 2)); !errors.Is(err, log.ErrConflict) {
				t.Errorf("log %d: Append after %v, where the end is %v: %v, want a conflict", i, wrong, second, err)
			}
		}
	}
	if end := mustEnd(t, logs[0]); end.Head != second {
		t.Fatalf("conflicts moved the end from %v to %v", second, end.Head)
	}
	mustAppend(t, logs[0], second, puts(4, 1))
	if got := readAll(t, logs[1], 0); len(got) != 6 {
		t.Errorf("%d entries, want 6", len(got))
	}
}

// retryAfterSuccessConflicts retries an append that succeeded, as a store does after ErrUnknown.
func (s suite) retryAfterSuccessConflicts(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	head := mustAppend(t, logs[0], log.Head{}, puts(2, 1))
	id := newID()
	if err := logs[0].Append(ctx, head, id, puts(3, 70)); err != nil {
		t.Fatal(err)
	}
	for _, l := range logs {
		var err error
		// A Galera node may abort the retry in favour of the first append, which is still on its way to that node. The
		// outcome is then unknown.
		await(t, "the outcome is known", func() bool {
			err = l.Append(ctx, head, id, puts(3, 70))
			return !errors.Is(err, log.ErrUnknown)
		})
		if !errors.Is(err, log.ErrConflict) {
			t.Errorf("the same append again: %v, want a conflict", err)
		}
		entries, end, err := l.Read(ctx, head.Position, 1000)
		if err != nil || len(entries) != 70 || end.Head != (log.Head{Position: 71, ID: id}) {
			t.Fatalf("Read: %d entries, end %v, %v", len(entries), end.Head, err)
		}
		for _, e := range entries {
			if e.ID != id {
				t.Errorf("position %d has ID %x, want %x", e.Position, uint64(e.ID), uint64(id))
			}
		}
	}
}

func (s suite) anyBytes(t *testing.T) {
	logs := s.fresh(t, 2)
	var entries []log.Entry
	add := func(key, value []byte) {
		entries = append(entries, log.Entry{Kind: log.KindPut, Revision: 2, Sub: int64(len(entries)), Key: key,
			Value: value, CreateRevision: 2, Version: 1})
	}
	for b := range 256 {
		add([]byte{byte(b)}, []byte{byte(b)})
		add([]byte{byte(b), 0, byte(b)}, []byte{0, byte(b), 0})
	}
	all := make([]byte, 256)
	for b := range all {
		all[b] = byte(b)
	}
	add(all, all)
	add([]byte{0}, nil)
	add([]byte{0, 0}, []byte{})
	add([]byte("\xff\xff\xff"), []byte{0})
	add([]byte("it's \\ \" % _ ; -- /* */ $1 ?1 :a @b"), []byte("it's \\ \" % _ ; -- /* */ $1 ?1 :a @b"))
	add([]byte("Straße"), []byte("\xc3\x28 is not UTF-8"))
	add([]byte("a"), []byte("collation"))
	add([]byte("A"), []byte("collation "))
	add(bytes.Repeat([]byte("long/"), 20_000), []byte("key of 100 kB"))
	mustAppend(t, logs[0], log.Head{}, entries)
	if got := readAll(t, logs[1], 0); !slices.EqualFunc(got, entries, sameEntry) {
		t.Error("Read returns other bytes")
	}
	var positions []log.Position
	for _, e := range entries {
		positions = append(positions, e.Position)
	}
	v, err := logs[1].Values(testContext(t), positions)
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if !v.Found[i] || !bytes.Equal(v.Values[i], entries[i].Value) {
			t.Errorf("value of %q is %q (found: %v), want %q", entries[i].Key, v.Values[i], v.Found[i],
				entries[i].Value)
		}
	}
	i := 0
	_, err = logs[1].Scan(testContext(t), 0, func(batch []log.Entry) error {
		for _, e := range batch {
			if !bytes.Equal(e.Key, entries[i].Key) {
				t.Errorf("Scan returns key %q, want %q", e.Key, entries[i].Key)
			}
			i++
		}
		return nil
	})
	if err != nil || i != len(entries) {
		t.Errorf("Scan: %d entries, %v", i, err)
	}
}

// largeValues appends values as large as etcd's request limit, many in one append.
func (s suite) largeValues(t *testing.T) {
	logs := s.fresh(t, 2)
	entries := puts(2, 9)
	for i := range entries {
		entries[i].Value = make([]byte, 1536<<10)
		for n := range 1000 {
			entries[i].Value[rand.IntN(len(entries[i].Value))] = byte(n)
		}
	}
	mustAppend(t, logs[0], log.Head{}, entries)
	if got := readAll(t, logs[1], 0); !slices.EqualFunc(got, entries, sameEntry) {
		t.Error("Read returns something else")
	}
	v, err := logs[1].Values(testContext(t), []log.Position{9, 1})
	if err != nil || !bytes.Equal(v.Values[0], entries[8].Value) || !bytes.Equal(v.Values[1], entries[0].Value) {
		t.Errorf("Values returns something else (%v)", err)
	}
}

// hugeAppend appends what a DeleteRange of a million keys appends: one revision, and so one append.
func (s suite) hugeAppend(t *testing.T) {
	s.except(t, HugeAppend)
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	entries := make([]log.Entry, hugeRows)
	for i := range entries {
		entries[i] = log.Entry{
			Kind: log.KindTombstone, Revision: 2, Sub: int64(i),
			Key: fmt.Appendf(nil, "/registry/some/namespace/with/a/name/%08d", i),
		}
	}
	// First try with a short context. If the database cannot be interrupted, the append may complete.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	id := newID()
	err := logs[0].Append(short, log.Head{}, id, entries)
	cancel()
	if errors.Is(err, log.ErrUnknown) {
		if err = logs[0].Append(ctx, log.Head{}, id, entries); errors.Is(err, log.ErrConflict) {
			err = nil
		} else if err != nil {
			t.Fatalf("the append of unknown outcome again: %v", err)
		}
	}
	want := log.Head{}
	if err == nil {
		want = log.Head{Position: hugeRows, ID: id}
	}
	before := mustEnd(t, logs[1]).Head
	if before != want || errors.Is(err, log.ErrConflict) {
		t.Fatalf("Append with 50 ms: %v, and the end is %v", err, before)
	}
	start := time.Now()
	head := mustAppend(t, logs[0], before, entries)
	took := time.Since(start)
	start = time.Now()
	n := 0
	end, err := logs[1].Scan(ctx, before.Position, func(batch []log.Entry) error {
		for _, e := range batch {
			if e.Sub != int64(n) || e.ID != head.ID || e.Position != before.Position+log.Position(n+1) {
				return fmt.Errorf("entry %d is %+v", n, e)
			}
			n++
		}
		return nil
	})
	if err != nil || n != hugeRows || end.Head != head {
		t.Fatalf("Scan: %d entries, end %v, %v", n, end.Head, err)
	}
	t.Logf("append of %d tombstones: %v, scan: %v", hugeRows, took.Round(time.Millisecond),
		time.Since(start).Round(time.Millisecond))
}
