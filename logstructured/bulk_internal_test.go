package logstructured

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// TestHashesAreShared shares one computation among three clients that request the same hash. The client that started it
// gives up early.
func TestHashesAreShared(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var h hashes
	key := hashKey{revision: 7, compact: 3, term: 1}
	computations := make(chan context.Context, 10)
	goOn := make(chan struct{})
	compute := func(ctx context.Context) (uint32, error) {
		computations <- ctx
		select {
		case <-goOn:
			return 42, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	type outcome struct {
		hash uint32
		err  error
	}
	ask := func(ctx context.Context, waiting int) chan outcome {
		result := make(chan outcome, 1)
		go func() {
			hash, err := h.do(ctx, key, compute)
			result <- outcome{hash, err}
		}()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; ; <-tick.C {
			h.mu.Lock()
			run := h.running[key]
			there := run != nil && run.waiting == waiting
			h.mu.Unlock()
			if there {
				return result
			}
			if ctx.Err() != nil {
				t.Fatal("a request neither began nor joined a computation")
			}
		}
	}
	early, leave := context.WithCancel(ctx)
	first, second, third := ask(early, 1), ask(ctx, 2), ask(ctx, 3)
	leave()
	if got := <-first; !errors.Is(got.err, context.Canceled) {
		t.Errorf("the client that left got %+v", got)
	}
	if (<-computations).Err() != nil {
		t.Error("the computation ended with the client that began it")
	}
	close(goOn)
	for _, result := range []chan outcome{second, third} {
		if got := <-result; got != (outcome{42, nil}) {
			t.Errorf("a client got %+v", got)
		}
	}
	if len(computations) != 0 {
		t.Error("the hash was computed more than once")
	}

	// Without any client that waits there is nothing to compute.
	goOn = make(chan struct{})
	alone, leave := context.WithCancel(ctx)
	last := ask(alone, 1)
	computation := <-computations
	leave()
	<-last
	<-computation.Done()
	if h.mu.Lock(); len(h.running) != 0 {
		t.Error("a computation without waiting requests can be joined")
	}
	h.mu.Unlock()
}

// TestAnswerTooLargeIsRefusedBeforeItIsRead requests more than a message can carry. The rows have only sizes, so a read
// of a value would fail.
func TestAnswerTooLargeIsRefusedBeforeItIsRead(t *testing.T) {
	st := newState()
	for i := range 3 {
		e := log.Entry{
			Position: log.Position(i + 1), ID: 1, Kind: log.KindPut, Key: []byte{'a' + byte(i)}, ValueSize: 1 << 30,
			Revision: Revision(i + 2), CreateRevision: Revision(i + 2), Version: 1,
		}
		st.apply(&e)
	}
	snap := st.publish()
	load := func(rows []*row) ([][]byte, error) { return make([][]byte, len(rows)), nil }
	everything := KeyRange{Key: []byte{0}, End: []byte{0}}
	for name, test := range map[string]struct {
		request RangeRequest
		refused bool
	}{
		"everything": {RangeRequest{KeyRange: everything}, true},
		"by value":   {RangeRequest{KeyRange: everything, SortTarget: SortByValue}, true},
		"by version": {RangeRequest{
			KeyRange: everything, SortTarget: SortByVersion, SortOrder: SortDescend, Limit: 2,
		}, true},
		"the first": {RangeRequest{KeyRange: everything, Limit: 1}, false},
		"the least": {RangeRequest{
			KeyRange: everything, SortTarget: SortByValue, SortOrder: SortAscend, Limit: 1,
		}, false},
		"keys":  {RangeRequest{KeyRange: everything, KeysOnly: true}, false},
		"count": {RangeRequest{KeyRange: everything, CountOnly: true}, false},
	} {
		var tooLarge *AnswerTooLargeError
		_, err := snap.rangeKeys(&test.request, &answer{bounded: true}, load)
		if errors.As(err, &tooLarge) != test.refused {
			t.Errorf("%s: %v", name, err)
		}
		if tooLarge != nil && tooLarge.Bytes <= maxAnswerBytes {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := snap.rangeKeys(&test.request, &answer{}, load); err != nil {
			t.Errorf("%s, in a write: %v", name, err)
		}
	}
}
