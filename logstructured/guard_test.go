package logstructured_test

import (
	"context"
	"errors"
	"testing"

	ls "github.com/stele-db/stele/logstructured"
)

var errClosed = errors.New("closed")

// closed refuses while there is a record of that name.
func closed(at ls.Moment) error {
	if _, ok := at.Get("closed"); ok {
		return errClosed
	}
	return nil
}

func setClosed(t *testing.T, r *replica, set bool) {
	t.Helper()
	_, err := r.UpdateRecords(testContext(t), func(ls.Records) ([]ls.RecordChange, error) {
		return []ls.RecordChange{{Name: "closed", Remove: !set}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a guard decides by holds on every replica from the moment that it was acknowledged on one, and what is refused changes nothing.
func TestGuards(t *testing.T) {
	path := tempDatabase(t)
	a := startStore(t, openSQLite(t, path), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	b := startStore(t, openSQLite(t, path), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	key := ls.KeyRange{Key: []byte("k")}
	put := &ls.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 7, Guard: closed}
	calls := map[string]func(context.Context) error{
		"range": func(ctx context.Context) error {
			_, err := b.Range(ctx, &ls.RangeRequest{KeyRange: key, Guard: closed})
			return err
		},
		"put": func(ctx context.Context) error { _, err := b.Put(ctx, put); return err },
		"delete": func(ctx context.Context) error {
			_, err := b.DeleteRange(ctx, &ls.DeleteRangeRequest{KeyRange: key, Guard: closed})
			return err
		},
		"txn": func(ctx context.Context) error {
			_, err := b.Txn(ctx, &ls.TxnRequest{Success: []ls.Op{put}, Guard: closed})
			return err
		},
		"txn that reads": func(ctx context.Context) error {
			_, err := b.Txn(ctx, &ls.TxnRequest{Success: []ls.Op{&ls.RangeRequest{KeyRange: key}}, Guard: closed})
			return err
		},
		"grant":        func(ctx context.Context) error { _, err := b.LeaseGrant(ctx, 0, 60, closed); return err },
		"keep alive":   func(ctx context.Context) error { _, err := b.LeaseKeepAlive(ctx, 7, closed); return err },
		"time to live": func(ctx context.Context) error { _, err := b.LeaseTimeToLive(ctx, 7, true, closed); return err },
		"leases":       func(ctx context.Context) error { _, _, err := b.Leases(ctx, closed); return err },
		"check":        func(ctx context.Context) error { return b.Check(ctx, closed, true) },
	}
	if _, err := a.LeaseGrant(testContext(t), 7, 600); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		if err := call(testContext(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		setClosed(t, a, true)
		before := a.Revision()
		if err := call(testContext(t)); !errors.Is(err, errClosed) {
			t.Errorf("%s while it is closed: %v", name, err)
		}
		if _, err := b.LeaseRevoke(testContext(t), 7, closed); !errors.Is(err, errClosed) {
			t.Errorf("revoke while it is closed: %v", err)
		}
		setClosed(t, a, false)
		if after := a.Revision(); after != before {
			t.Errorf("%s, refused, took the revision from %d to %d", name, before, after)
		}
	}
	setClosed(t, b, true)
	ws := b.NewWatchStream()
	defer ws.Close()
	for _, refused := range []bool{true, false} {
		if !refused {
			setClosed(t, b, false)
		}
		ws.Create(ls.WatchRequest{KeyRange: key, Guard: closed})
		if resp, err := ws.Next(testContext(t)); err != nil || errors.Is(resp.Err, errClosed) != refused || resp.Canceled != refused {
			t.Errorf("watch: %+v, %v", resp, err)
		}
	}
}

// A guard can look at the keys of leases.
func TestGuardSeesLeases(t *testing.T) {
	s := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	ctx := testContext(t)
	if _, err := s.LeaseGrant(ctx, 7, 600); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"b", "a"} {
		if _, err := s.Put(ctx, &ls.PutRequest{Key: []byte(k), Lease: 7}); err != nil {
			t.Fatal(err)
		}
	}
	var of, all []string
	err := s.Check(ctx, func(at ls.Moment) error {
		of = at.LeaseKeys(7)
		at.LeasedKeys(func(key string) bool {
			all = append(all, key)
			return true
		})
		return nil
	}, false)
	if err != nil || len(of) != 2 || of[0] != "a" || len(all) != 2 {
		t.Errorf("keys %q, all %q, %v", of, all, err)
	}
}

// What is derived from records is made once for each change of them.
func TestDerived(t *testing.T) {
	s := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	made := 0
	derived := ls.Derive(func(r ls.Records) bool {
		made++
		_, ok := r.Get("closed")
		return ok
	})
	for i, want := range []bool{false, true, false} {
		if i > 0 {
			setClosed(t, s, want)
		}
		for range 3 {
			s.mustPut(t, "k", "v")
			if got := derived.Of(s.Records()); got != want || made != i+1 {
				t.Errorf("%v, made %d times, want %v after %d", got, made, want, i+1)
			}
		}
	}
}
