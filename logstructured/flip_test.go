package logstructured_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/sqlite"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// flipCopies is how many damaged copies of a database are tried; STELE_TEST_FLIPS sets another number.
const flipCopies = 50

const (
	pageSize = 4096
	// pageHeader is more than the header of a page and the pointers to its cells take.
	pageHeader = 64
)

// TestFlippedBitIsDetected flips one bit of an SQLite file. The file is refused, or a read reports damage, or every
// answer is the same as before.
func TestFlippedBitIsDetected(t *testing.T) {
	t.Parallel()
	copies := flipCopies
	if s := os.Getenv("STELE_TEST_FLIPS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		copies = n
	}
	path := tempDatabase(t)
	writeVaried(t, path)
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := everythingIn(t, path)
	if err != nil {
		t.Fatal(err)
	}
	rng := testRand(t)
	outcomes := map[string]int{}
	for i := range copies {
		damaged := bytes.Clone(intact)
		// Every other one is where a page says what is on it: a flip there can hide or misplace rows.
		bit := rng.Intn(8 * len(damaged))
		if i%2 == 1 {
			bit = bit/8/pageSize*pageSize*8 + rng.Intn(8*pageHeader)
		}
		damaged[bit/8] ^= 1 << (bit % 8)
		for _, old := range []string{path, path + "-wal", path + "-shm"} {
			_ = os.Remove(old) // the last two are there only if the file could not be closed
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := everythingIn(t, path)
		switch {
		case err != nil:
			outcomes["reported"]++
		case got == want:
			outcomes["identical"]++
		default:
			outcomes["other data"]++
			t.Errorf("bit %d (page %d, offset %d): other data is served", bit, bit/8/pageSize+1, bit/8%pageSize)
		}
	}
	t.Logf("%d copies: %v", copies, outcomes)
}

// TestHiddenRowIsDetected reduces the number of rows in the header of a page. The positions of the hidden rows could be
// those of rows that a compaction deleted.
func TestHiddenRowIsDetected(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	writeVaried(t, path)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 1; ; page++ {
		// A leaf of a table, and the low byte of its number of rows.
		if at := page * pageSize; file[at] == 13 && file[at+4] > 2 {
			file[at+4]--
			break
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = everythingIn(t, path)
	if !errors.Is(err, log.ErrCorrupt) || !strings.Contains(err.Error(), "rows instead of") {
		t.Errorf("the start returns %v", err)
	}
	l := openSQLite(t, path)
	defer l.Close()
	result, err := ls.Check(testContext(t), l, ls.CheckOptions{Values: true}, func(p ls.Problem) { t.Log(p) })
	if err != nil || result.Problems == 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// writeVaried makes a file with short, long and very long values, histories, tombstones, leases, records, and rows that
// a compaction has deleted.
func writeVaried(t *testing.T, path string) {
	t.Helper()
	l := openSQLite(t, path)
	store := startStore(t, l, ls.Options{CompactRetention: time.Nanosecond})
	ctx := testContext(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		key := fmt.Appendf(nil, "/registry/things/%03d", rng.IntN(300))
		value := bytes.Repeat([]byte{byte(i)}, []int{0, 20, 300, 1000, 7000}[rng.IntN(5)])
		if rng.IntN(8) == 0 {
			if _, err := store.DeleteRange(ctx, ls.Unguarded,
				&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: key}}); err != nil {
				t.Fatal(err)
			}
		} else if _, err := store.Put(ctx, ls.Unguarded,
			&ls.PutRequest{Key: key, Value: value, Lease: ls.LeaseID(rng.IntN(2) * 100_000)}); err != nil {
			t.Fatal(err)
		}
		if i == 300 {
			if _, err := store.UpdateRecords(ctx, ls.Unguarded, func(ls.Records) ([]ls.RecordChange, error) {
				return []ls.RecordChange{
					{Name: "auth/enabled", Value: []byte{1}}, {Name: "auth/users/root", Value: []byte("root")},
				}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := store.Compact(ctx, ls.Unguarded, 250, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "rows are deleted", func() bool {
		end, err := l.End(ctx)
		return err == nil && end.Floor > 0 && end.Rows < int64(end.Position)-50
	})
	store.stop(t)
}

// everythingIn reads the state of a store, including values and history.
func everythingIn(t *testing.T, path string) (answers string, err error) {
	t.Helper()
	l, err := sqlite.Open(t.Context(), path, sqlite.Options{Logger: testLogger(t)})
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	x, err := ls.ExportLog(context.Background(), l)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, x.Revision, x.CompactRevision, x.Term, x.LeaseMode(), x.Keys())
	for _, l := range x.Leases {
		fmt.Fprintln(&b, l.ID, l.TTL)
	}
	x.Records.Ascend("", func(name string, value []byte) bool {
		fmt.Fprintf(&b, "%q %q\n", name, value)
		return true
	})
	_, err = x.Read(t.Context(), func(entries []log.Entry) error {
		for i := range entries {
			e := &entries[i]
			fmt.Fprintln(&b, e.Kind, e.Revision, e.Sub, string(e.Key), e.CreateRevision, e.Version, e.Lease,
				len(e.Value), string(e.Value))
		}
		return nil
	})
	return b.String(), err
}
