package logstructured_test

import (
	"fmt"
	"sync"
	"testing"

	ls "github.com/stele-db/stele/logstructured"
)

// TestGroupShrinks sends transactions that write nothing from one client, after a time with many clients. They must not
// wait for clients that have gone.
func TestGroupShrinks(t *testing.T) {
	t.Parallel()
	log := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, log, ls.Options{})
	release := holdUp(t, log, store)
	var writes sync.WaitGroup
	for n := range 64 {
		writes.Go(func() { store.mustPut(t, fmt.Sprint(n), "") })
	}
	release()
	writes.Wait()

	create := &ls.TxnRequest{
		Compares: []ls.Compare{{KeyRange: ls.KeyRange{Key: []byte("0")}, Target: ls.CompareModRevision}},
		Success:  []ls.Op{&ls.PutRequest{Key: []byte("0")}},
	}
	for range 200 {
		if res, err := store.Txn(testContext(t), ls.Unguarded, create); err != nil || res.Succeeded {
			t.Fatalf("a create of a key that exists: %+v, %v", res, err)
		}
	}
	store.stop(t)
	if size := store.GroupSize(); size != 0 {
		t.Errorf("after 200 transactions of one client the writer waits for %d requests", size)
	}
}

// TestContendedUpdates increments one counter by compare-and-put from clients of two replicas. Each increment must take
// effect once, however the losing transactions are grouped.
func TestContendedUpdates(t *testing.T) {
	t.Parallel()
	const clients, increases = 8, 20
	path := tempDatabase(t)
	replicas := []*replica{
		startStore(t, openSQLite(t, path), ls.Options{}), startStore(t, openSQLite(t, path), ls.Options{}),
	}
	key := ls.KeyRange{Key: []byte("counter")}
	var wg sync.WaitGroup
	for n := range clients {
		store := replicas[n%len(replicas)]
		wg.Go(func() {
			for done := 0; done < increases; {
				read, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: key})
				if err != nil {
					t.Error(err)
					return
				}
				guard := ls.Compare{KeyRange: key, Target: ls.CompareVersion}
				if len(read.KVs) > 0 {
					guard.Number = read.KVs[0].Version
				}
				res, err := store.Txn(testContext(t), ls.Unguarded, &ls.TxnRequest{
					Compares: []ls.Compare{guard},
					Success:  []ls.Op{&ls.PutRequest{Key: key.Key}},
					Failure:  []ls.Op{&ls.RangeRequest{KeyRange: key}},
				})
				if err != nil {
					t.Error(err)
					return
				}
				if res.Succeeded {
					done++
				} else if now := res.Results[0].(*ls.RangeResult).KVs[0].Version; now <= guard.Number {
					t.Errorf("a guard on version %d failed at version %d", guard.Number, now)
				}
			}
		})
	}
	wg.Wait()
	read, err := replicas[0].Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: key})
	if err != nil || len(read.KVs) != 1 || read.KVs[0].Version != clients*increases {
		t.Errorf("after %d increases: %v, %v", clients*increases, read, err)
	}
}
