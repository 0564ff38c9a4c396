package logstructured_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
)

// walMoments is the number of moments at which a copy is made and the write-ahead log is kept.
const walMoments = 14

// TestOldWALBesideCopy restores a copy of an SQLite file and leaves the write-ahead log of a later moment in place.
// SQLite applies that log to the copy. The result must be refused, or be the state of the later moment or of the copy,
// but not a mixture.
func TestOldWALBesideCopy(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	log := openSQLite(t, path)
	store := startStore(t, log, ls.Options{CompactRetention: time.Nanosecond})
	ctx, rng := testContext(t), rand.New(rand.NewPCG(3, 4))
	type moment struct {
		main, wal []byte
		answers   string
	}
	var moments []moment
	for n := range walMoments {
		for i := range 20 + rng.IntN(150) {
			key := fmt.Appendf(nil, "/registry/things/%03d", rng.IntN(100))
			value := bytes.Repeat([]byte{byte(i)}, []int{0, 20, 300, 1000, 7000}[rng.IntN(5)])
			if rng.IntN(8) == 0 {
				if _, err := store.DeleteRange(ctx, ls.Unguarded,
					&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: key}}); err != nil {
					t.Fatal(err)
				}
			} else if _, err := store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: key, Value: value}); err != nil {
				t.Fatal(err)
			}
		}
		if n%3 == 2 {
			if _, err := store.Compact(ctx, ls.Unguarded, store.Revision()-20, true); err != nil {
				t.Fatal(err)
			}
		}
		if n%2 == 1 { // SQLite restarts the log at an append after a complete checkpoint
			salt := walSalt(t, path)
			eventually(t, "the write-ahead log restarts", func() bool {
				store.mustPut(t, "/registry/other", "value")
				return walSalt(t, path) != salt
			})
		}
		m := moment{main: mustRead(t, path), wal: mustRead(t, path+"-wal")}
		again := mustRead(t, path)
		if !bytes.Equal(m.main, again) { // a checkpoint came between: such a copy is of no moment
			continue
		}
		moments = append(moments, m)
	}
	store.stop(t)

	scratch := tempDatabase(t)
	restore := func(main, wal []byte) {
		for name, content := range map[string][]byte{scratch: main, scratch + "-wal": wal} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Remove(scratch + "-shm")
	}
	for i := range moments {
		m := &moments[i]
		restore(m.main, m.wal)
		var err error
		if m.answers, err = everythingIn(t, scratch); err != nil {
			t.Fatal(err)
		}
		m.main = mustRead(t, scratch) // complete, as a backup is
	}
	outcomes := map[string]int{}
	for i, from := range moments {
		for _, later := range moments[i+1:] {
			restore(from.main, later.wal)
			got, err := everythingIn(t, scratch)
			switch {
			case err != nil:
				outcomes["refused"]++
			case got == later.answers:
				outcomes["later"]++
			case got == from.answers:
				outcomes["copy"]++
			default:
				outcomes["mixture"]++
			}
		}
	}
	t.Logf("%d moments: %v", len(moments), outcomes)
	if outcomes["mixture"] > 0 || outcomes["refused"] == 0 {
		t.Errorf("the outcomes of copies with an older log are %v", outcomes)
	}
}

// walSalt returns what distinguishes a write-ahead log from the one before it.
func walSalt(t *testing.T, path string) string {
	t.Helper()
	return string(mustRead(t, path+"-wal")[16:24])
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
