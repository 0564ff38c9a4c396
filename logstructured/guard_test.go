package logstructured_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
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
	_, err := r.UpdateRecords(testContext(t), ls.Unguarded, func(ls.Records) ([]ls.RecordChange, error) {
		return []ls.RecordChange{{Name: "closed", Remove: !set}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestGuards checks that the guard of every replica sees what one replica acknowledged, and that a refused request
// changes nothing.
func TestGuards(t *testing.T) {
	path := tempDatabase(t)
	a := startStore(t, openSQLite(t, path), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	b := startStore(t, openSQLite(t, path), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	key := ls.KeyRange{Key: []byte("k")}
	put := &ls.PutRequest{Key: []byte("k"), Value: []byte("v"), Lease: 7}
	alarm := ls.Alarm{Type: ls.AlarmCorrupt}
	calls := map[string]func(context.Context) error{
		"range": func(ctx context.Context) error {
			_, err := b.Range(ctx, closed, &ls.RangeRequest{KeyRange: key})
			return err
		},
		"put": func(ctx context.Context) error { _, err := b.Put(ctx, closed, put); return err },
		"delete": func(ctx context.Context) error {
			_, err := b.DeleteRange(ctx, closed, &ls.DeleteRangeRequest{KeyRange: key})
			return err
		},
		"txn": func(ctx context.Context) error {
			_, err := b.Txn(ctx, closed, &ls.TxnRequest{Success: []ls.Op{put}})
			return err
		},
		"txn that reads": func(ctx context.Context) error {
			_, err := b.Txn(ctx, closed, &ls.TxnRequest{Success: []ls.Op{&ls.RangeRequest{KeyRange: key}}})
			return err
		},
		"grant":      func(ctx context.Context) error { _, err := b.LeaseGrant(ctx, closed, 0, 60); return err },
		"keep alive": func(ctx context.Context) error { _, err := b.LeaseKeepAlive(ctx, closed, 7); return err },
		"time to live": func(ctx context.Context) error {
			_, err := b.LeaseTimeToLive(ctx, closed, 7, true)
			return err
		},
		"leases":      func(ctx context.Context) error { _, _, err := b.Leases(ctx, closed); return err },
		"hash":        func(ctx context.Context) error { _, _, err := b.Hash(ctx, closed); return err },
		"hash KV":     func(ctx context.Context) error { _, err := b.HashKV(ctx, closed, 0); return err },
		"defragment":  func(ctx context.Context) error { return b.Defragment(ctx, closed) },
		"status":      func(ctx context.Context) error { _, err := a.Status(ctx, closed); return err },
		"replicas":    func(ctx context.Context) error { _, err := a.Replicas(ctx, closed, false); return err },
		"refresh":     func(ctx context.Context) error { _, err := b.Replicas(ctx, closed, true); return err },
		"export":      func(ctx context.Context) error { _, err := b.Export(ctx, closed); return err },
		"alarms":      func(ctx context.Context) error { _, _, err := b.Alarms(ctx, closed); return err },
		"clear alarm": func(ctx context.Context) error { _, _, err := b.ClearAlarm(ctx, closed, alarm); return err },
		"raise alarm": func(ctx context.Context) error {
			if _, err := b.RaiseAlarm(ctx, closed, alarm); err != nil {
				return err
			}
			_, _, err := b.ClearAlarm(ctx, closed, alarm)
			return err
		},
		"compact": func(ctx context.Context) error {
			_, err := b.Compact(ctx, closed, 1<<40, false)
			if errors.Is(err, ls.ErrFutureRevision) {
				return nil
			}
			return err
		},
		"records": func(ctx context.Context) error {
			_, err := b.UpdateRecords(ctx, closed, func(ls.Records) ([]ls.RecordChange, error) { return nil, nil })
			return err
		},
		"check": func(ctx context.Context) error { return b.Check(ctx, closed) },
	}
	if _, err := a.LeaseGrant(testContext(t), ls.Unguarded, 7, 600); err != nil {
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
		if _, err := b.LeaseRevoke(testContext(t), closed, 7); !errors.Is(err, errClosed) {
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
		ws.Create(closed, ls.WatchRequest{KeyRange: key})
		resp, err := ws.Next(testContext(t))
		if err != nil || errors.Is(resp.Err, errClosed) != refused || resp.Canceled != refused {
			t.Errorf("watch: %+v, %v", resp, err)
		}
	}
}

// TestGuardIsRequired calls every method of the store that takes a request's context. Each must take a guard and refuse
// a nil one.
func TestGuardIsRequired(t *testing.T) {
	s := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	// These serve no client: Run is the store, Recover and ConvertLeases are tools, and Ready and Room read no data.
	unguarded := []string{"Run", "Recover", "ConvertLeases", "Ready", "Room"}
	store := reflect.ValueOf(s.Store)
	guarded := 0
	for i := range store.NumMethod() {
		name, method := store.Type().Method(i).Name, store.Method(i)
		in := method.Type()
		if in.NumIn() == 0 || in.In(0) != reflect.TypeFor[context.Context]() || slices.Contains(unguarded, name) {
			continue
		}
		if in.NumIn() == 1 || in.In(1) != reflect.TypeFor[ls.Guard]() {
			t.Errorf("%s takes no guard", name)
			continue
		}
		guarded++
		args := []reflect.Value{reflect.ValueOf(testContext(t))}
		for j := 1; j < in.NumIn(); j++ {
			arg := reflect.Zero(in.In(j))
			if in.In(j).Kind() == reflect.Pointer {
				arg = reflect.New(in.In(j).Elem())
			}
			args = append(args, arg)
		}
		results := method.Call(args)
		if wait := results[0]; wait.Kind() == reflect.Func {
			results = wait.Call(nil)
		}
		if err, _ := results[len(results)-1].Interface().(error); !errors.Is(err, ls.ErrNoGuard) {
			t.Errorf("%s without a guard: %v", name, err)
		}
	}
	if guarded < 20 {
		t.Errorf("only %d methods take a guard", guarded)
	}
	if revision := s.Revision(); revision != 1 {
		t.Errorf("the revision is %d", revision)
	}
	ws := s.NewWatchStream()
	defer ws.Close()
	ws.Create(nil, ls.WatchRequest{KeyRange: everything})
	if resp, err := ws.Next(testContext(t)); err != nil || !errors.Is(resp.Err, ls.ErrNoGuard) || !resp.Canceled {
		t.Errorf("watch: %+v, %v", resp, err)
	}
}

// TestGuardSeesLeases reads the keys of leases in a guard.
func TestGuardSeesLeases(t *testing.T) {
	s := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	ctx := testContext(t)
	if _, err := s.LeaseGrant(ctx, ls.Unguarded, 7, 600); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"b", "a"} {
		if _, err := s.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte(k), Lease: 7}); err != nil {
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
	})
	if err != nil || len(of) != 2 || of[0] != "a" || len(all) != 2 {
		t.Errorf("keys %q, all %q, %v", of, all, err)
	}
}

// TestDerivedIsComputedOncePerChange counts how often a value is derived from records.
func TestDerivedIsComputedOncePerChange(t *testing.T) {
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
