package logstructured_test

import (
	"context"
	"errors"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/sqlite"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// patience bounds every wait of these tests; it is reached only when something is broken.
const patience = 30 * time.Second

// openSQLite opens the log in path, which stands for a process of its own: any number of them may be open.
func openSQLite(t testing.TB, path string) log.Log {
	t.Helper()
	l, err := sqlite.Open(t.Context(), path, sqlite.Options{Logger: testLogger(t)})
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	return l
}

// tempDatabase is a file in memory where the system has that: these tests ask what the store does, and not what
// survives the loss of power, and a busy disk would slow them down tenfold.
func tempDatabase(t testing.TB) string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		return filepath.Join(t.TempDir(), "state.db")
	}
	dir, err := os.MkdirTemp(memory, "stele-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "state.db")
}

// testLogger is silent by default, because a store under fault injection logs a lot.
func testLogger(t testing.TB) *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	if os.Getenv("STELE_TEST_LOG") != "" {
		logger.SetLevel(logrus.DebugLevel)
		logger.SetOutput(t.Output())
	}
	return logrus.NewEntry(logger)
}

// replica is a store that runs.
type replica struct {
	*ls.Store
	cancel context.CancelFunc
	done   chan error
}

// startStore opens a store over log and runs it until stop, or the end of the test.
func startStore(t testing.TB, l log.Log, opts ls.Options) *replica {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = testLogger(t)
	}
	store, err := ls.Open(t.Context(), l, opts)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{Store: store, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- store.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop ends Run and waits for it. It may be called again.
func (r *replica) stop(t testing.TB) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- nil
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		t.Errorf("Run did not return after its context ended")
	}
}

// apply sends one request to the store.
func (r *replica) apply(ctx context.Context, op ls.Op) (res ls.OpResult, err error) {
	// A typed nil pointer in the interface would hide that there is no result.
	switch op := op.(type) {
	case *ls.RangeRequest:
		if rr, e := r.Range(ctx, ls.Unguarded, op); e != nil {
			err = e
		} else {
			res = rr
		}
	case *ls.PutRequest:
		if rr, e := r.Put(ctx, ls.Unguarded, op); e != nil {
			err = e
		} else {
			res = rr
		}
	case *ls.DeleteRangeRequest:
		if rr, e := r.DeleteRange(ctx, ls.Unguarded, op); e != nil {
			err = e
		} else {
			res = rr
		}
	case *ls.TxnRequest:
		if rr, e := r.Txn(ctx, ls.Unguarded, op); e != nil {
			err = e
		} else {
			res = rr
		}
	}
	return res, err
}

// testContext ends with the test or when patience does.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// mustPut writes a key and returns its revision.
func (r *replica) mustPut(t testing.TB, key, value string) ls.Revision {
	t.Helper()
	res, err := r.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return res.Revision
}

// testRand is seeded by STELE_TEST_SEED or the clock, and says so, for the failure to be repeated.
func testRand(t testing.TB) *rand.Rand {
	seed := time.Now().UnixNano()
	if s := os.Getenv("STELE_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatalf("STELE_TEST_SEED: %v", err)
		}
	}
	t.Logf("repeat with STELE_TEST_SEED=%d", seed)
	return rand.New(rand.NewSource(seed))
}

// scaled multiplies the length of a random run by STELE_TEST_SCALE.
func scaled(t testing.TB, n int) int {
	if s := os.Getenv("STELE_TEST_SCALE"); s != "" {
		factor, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("STELE_TEST_SCALE: %v", err)
		}
		return n * factor
	}
	return n
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("timeout: not true that %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// elapse lets time pass where time is the subject: a slow disk, a TTL. Nothing waits for another goroutine by it.
func elapse(d time.Duration) { <-time.After(d) }
