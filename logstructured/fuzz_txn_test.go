package logstructured_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
)

// byteChooser makes the generator's choices from the bytes of a fuzzer: the same bytes always make the same requests.
// After the last byte every choice is the first.
type byteChooser struct{ data []byte }

func (c *byteChooser) Intn(n int) int {
	if len(c.data) == 0 || n == 1 {
		return 0
	}
	choice := int(c.data[0])
	c.data = c.data[1:]
	return choice % n
}

// FuzzTxn turns bytes into a sequence of requests. It compares the answers of the store with those of the oracle, and
// finally the whole history, also after reopening the log. The log is in memory, because each input opens a store.
func FuzzTxn(f *testing.F) {
	rnd := testRand(f)
	for range 8 {
		seed := make([]byte, 400)
		rnd.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			t.Skip("longer inputs find nothing more and take longer")
		}
		choices := &byteChooser{data: data}
		db := new(memory.Database)
		opts := ls.Options{PollInterval: time.Hour, CompactRetention: time.Nanosecond}
		if choices.Intn(2) == 1 {
			opts.ValueCacheBytes = -1
		}
		run := &sequence{
			oracle: newOracle(), gen: &generator{chooser: choices, leases: []ls.LeaseID{100_000, -1}},
			store: startStore(t, db.Open(), opts),
		}
		for len(choices.data) > 0 {
			run.step(t)
		}
		run.compareHistory(t)
		run.store.stop(t)
		run.store = startStore(t, db.Open(), opts)
		run.compareHistory(t)
	})
}

// FuzzKeyRange compares ranges of arbitrary keys and ends with the oracle: in a range, a count, a compare, a watch and
// a deletion.
func FuzzKeyRange(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), []byte("a"), []byte("aa"))
	f.Add([]byte{0}, []byte{0}, []byte{0}, []byte{0xff})
	f.Add([]byte("b"), []byte("a"), []byte("a\x00"), []byte("b"))
	f.Add([]byte("a"), []byte{}, []byte("a"), []byte("a\x00"))
	f.Add([]byte("\xff"), []byte{0}, []byte("\xff\xff"), []byte("\xfe"))
	f.Fuzz(func(t *testing.T, key, end, first, second []byte) {
		if len(key) == 0 || len(first) == 0 || len(second) == 0 {
			return // an empty key is refused before it comes to the store
		}
		r := ls.KeyRange{Key: key, End: end}
		store := startStore(t, new(memory.Database).Open(), ls.Options{PollInterval: time.Hour})
		run := &sequence{oracle: newOracle(), gen: &generator{}, store: store}
		stream := recordStream(t, run.store)
		if len(end) == 0 || string(end) == "\x00" || string(key) < string(end) {
			stream.create(ls.WatchRequest{KeyRange: r, ID: 1, StartRevision: 1, PrevKV: true}, -1)
		} else {
			stream.create(ls.WatchRequest{KeyRange: everything, ID: 1, StartRevision: 1}, -1)
		}
		for _, op := range []ls.Op{
			&ls.PutRequest{Key: first, Value: []byte("1")},
			&ls.PutRequest{Key: second, Value: []byte("2")},
			&ls.RangeRequest{KeyRange: r},
			&ls.RangeRequest{KeyRange: r, CountOnly: true},
			&ls.RangeRequest{KeyRange: r, CountOnly: true, Revision: 2},
			&ls.RangeRequest{KeyRange: r, Limit: 1},
			&ls.RangeRequest{KeyRange: r, Limit: 1, Revision: 2},
			&ls.TxnRequest{
				Compares: []ls.Compare{{KeyRange: r, Target: ls.CompareVersion, Result: ls.CompareGreater}},
				Success: []ls.Op{
					&ls.DeleteRangeRequest{KeyRange: r, PrevKV: true}, &ls.RangeRequest{KeyRange: everything},
				},
				Failure: []ls.Op{&ls.PutRequest{Key: first}},
			},
			&ls.RangeRequest{KeyRange: everything},
		} {
			run.note(requestText(op))
			want := resultText(run.oracle.apply(op))
			run.match(t, resultText(run.store.apply(testContext(t), op)), want)
		}
		stream.synced(t, run.oracle.rev())
		stream.verify(t, run.oracle, nil)
	})
}

// TestFuzzChoicesRepeat makes the same requests from the same bytes, so that a failing input fails again.
func TestFuzzChoicesRepeat(t *testing.T) {
	t.Parallel()
	data := make([]byte, 1000)
	testRand(t).Read(data)
	requests := func() (text string) {
		gen := &generator{chooser: &byteChooser{data: data}, now: 50}
		for range 30 {
			text += fmt.Sprintln(requestText(gen.op()))
		}
		return text
	}
	mustMatch(t, "the requests of the same bytes", requests(), requests())
}
