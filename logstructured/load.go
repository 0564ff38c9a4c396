package logstructured

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// loadAhead is how many batches of the scan may wait to be indexed. One processor reads the database while another one
// builds the index.
const loadAhead = 8

// loaded is the content of a log.
type loaded struct {
	st     *state
	leases expiry
	// end is the end of the log when the load began.
	end log.End
}

// loadServed is loadLog for a log that will be served: it returns an error if the log holds an unfinished import.
func loadServed(ctx context.Context, source log.Log) (loaded, error) {
	content, err := loadLog(ctx, source)
	if err == nil {
		err = content.st.unfinishedImport()
	}
	return content, err
}

// loadLog reads the metadata of the whole log and builds the index from it.
func loadLog(ctx context.Context, source log.Log) (loaded, error) {
	end, err := source.End(ctx)
	if err != nil {
		return loaded{}, fmt.Errorf("%w (read the head of the log)", err)
	}
	st, leases, err := load(ctx, source, end)
	return loaded{st, leases, end}, err
}

// load is loadLog with an earlier end of the log, which it uses only to estimate the size of the index.
func load(ctx context.Context, source log.Log, end log.End) (st *state, leases expiry, err error) {
	leases.at = time.Now()
	rows, err := estimateRows(ctx, source, end.Position)
	if err != nil {
		return nil, leases, err
	}
	l := loader{st: newState(), leases: &leases, keys: make(map[string]*keyIndex, rows)}
	l.rules.report = l.refuse
	l.st.history = make([]*row, 0, rows)
	batches := make(chan []log.Entry, loadAhead)
	indexed := make(chan struct{})
	go func() {
		defer close(indexed)
		for entries := range batches {
			for i := range entries {
				l.apply(&entries[i])
			}
		}
	}()
	end, err = source.Scan(ctx, 0, func(entries []log.Entry) error {
		batches <- slices.Clone(entries)
		return nil
	})
	close(batches)
	<-indexed
	if err == nil {
		err = l.err
	}
	if err != nil {
		return nil, leases, fmt.Errorf("%w (read the log)", err)
	}
	st = l.finish()
	compact := st.compact
	if st.unfinishedImport() != nil {
		compact = math.MaxInt64 - 1 // the end of the import sets the compact revision
	}
	if l.rules.end(end, compact); l.err != nil {
		return nil, leases, l.err
	}
	for _, r := range l.leased {
		leases.addRow(r.row, r.appended)
	}
	st.cut(st.compact)
	if err := startClock(ctx, source, &leases.clock); err != nil {
		return nil, leases, err
	}
	st.compactedAt = l.compacted
	return st, leases, nil
}

// startClock reads the database's clock. The times of all entries have been replayed before.
func startClock(ctx context.Context, source log.Log, c *clock) error {
	sentAt := time.Now()
	end, err := source.End(ctx)
	if err != nil {
		return fmt.Errorf("%w (read the database's clock)", err)
	}
	c.start(end.Now, sentAt)
	return nil
}

// estimateRows estimates how many rows the log has, rather too low than too high. The estimate saves growing the slice
// and the map that hold them.
func estimateRows(ctx context.Context, source log.Log, end log.Position) (int, error) {
	const rowBytes = 256
	size, err := source.Size(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w (read the log's size)", err)
	}
	return int(min(int64(end), size.InUse/rowBytes)), nil
}

// loader builds a state from a whole log. It finds keys by a hash table and sorts them at the end. For a million keys
// this is several times faster than finding the place of each one in a growing tree.
type loader struct {
	st     *state
	leases *expiry
	keys   map[string]*keyIndex
	// leased are the rows with a lease. Their deadlines depend on the lease mode, which is known only after the whole
	// log was read.
	leased []leasedRow
	// compacted is the time of the newest compaction on the clock.
	compacted log.Timestamp
	rules     rules
	// err is the first problem that was found. The log cannot be served if it is set.
	err error
}

type leasedRow struct {
	row      *row
	appended log.Timestamp // on the clock
}

func (l *loader) apply(e *log.Entry) {
	if l.err != nil {
		return
	}
	if l.err = cmp.Or(e.VerifyScanned(), validate(e)); l.err != nil {
		return
	}
	l.leases.replay(e.Time)
	if e.Kind == log.KindCompaction || e.Kind == log.KindRecovery {
		l.compacted = l.leases.replayed(e.Time)
	}
	if e.Kind != log.KindPut && e.Kind != log.KindTombstone {
		l.rules.entry(e, nil)
		l.st.apply(e)
		l.leases.control(e, time.Time{})
		return
	}
	l.st.head = log.Head{Position: e.Position, ID: e.ID}
	r := newRow(e)
	if r.lease != 0 {
		l.leased = append(l.leased, leasedRow{r, l.leases.replayed(e.Time)})
	}
	name := keyString(e.Key)
	previous := l.keys[name]
	if previous == nil {
		l.rules.entry(e, nil)
	} else {
		l.rules.entry(e, previous.newest())
	}
	l.keys[name] = l.st.extend(previous, r)
}

// refuse records a problem of the log in err.
func (l *loader) refuse(p Problem) {
	if l.err == nil {
		l.err = fmt.Errorf("%w: %s; `stele check` lists all problems: restore a backup, or see docs/reliability.md",
			log.ErrCorrupt, p)
	}
}

func (l *loader) finish() *state {
	keys := make([]sortKey, 0, len(l.keys))
	for _, ki := range l.keys {
		keys = append(keys, sortKey{key: ki})
	}
	var dead []sortKey
	for _, t := range l.st.garbage.tombstones {
		if ki := l.keys[string(t.row.key)]; ki.newest() == t.row {
			dead = append(dead, sortKey{key: ki})
		}
	}
	l.keys = nil
	loadTree(l.st.keys, keys)
	loadTree(l.st.dead, dead)
	l.st.attachAll()
	return l.st
}

func loadTree(t *tree, keys []sortKey) {
	sortKeys(keys, 0, make(chan struct{}, runtime.GOMAXPROCS(0)-1))
	for i := range keys {
		t.Load(keys[i].key)
	}
}

// sortKey is a key with the eight bytes of it that are being compared, so that a comparison touches no other memory.
type sortKey struct {
	word uint64
	// size of the key.
	size int
	key  *keyIndex
}

// sortParallel is the number of keys from which sorting on another processor is worthwhile.
const sortParallel = 4096

// sortKeys sorts keys whose first depth bytes are equal. It sorts them by the next eight bytes, and then each group
// that is still equal by the following ones. Keys have long prefixes in common, and a plain sort would fetch both keys
// from memory for each of its comparisons. Groups are sorted by goroutines of their own while there is room in busy.
func sortKeys(keys []sortKey, depth int, busy chan struct{}) {
	depth += common(keys, depth)
	for i := range keys {
		k := &keys[i]
		k.size = len(k.key.key)
		var word [8]byte // a short key is padded; of two keys that are then equal the shorter one comes first
		copy(word[:], k.key.key[min(depth, k.size):])
		k.word = binary.BigEndian.Uint64(word[:])
	}
	slices.SortFunc(keys, func(a, b sortKey) int {
		if a.word != b.word {
			return cmp.Compare(a.word, b.word)
		}
		// Keys that end within this word are ordered by length. Longer keys are equal so far.
		return cmp.Compare(min(a.size, depth+8), min(b.size, depth+8))
	})
	var parts sync.WaitGroup
	defer parts.Wait()
	for i := 0; i < len(keys); {
		j := i + 1
		for j < len(keys) && keys[j].word == keys[i].word {
			j++
		}
		for i < j && keys[i].size < depth+8 {
			i++
		}
		part := keys[i:j]
		i = j
		if len(part) >= sortParallel {
			select {
			case busy <- struct{}{}:
				parts.Go(func() {
					sortKeys(part, depth+8, busy)
					<-busy
				})
				continue
			default:
			}
		}
		if len(part) > 1 {
			sortKeys(part, depth+8, busy)
		}
	}
}

// common returns how many bytes from depth on all keys have in common. Most keys begin alike. If sortKeys compared the
// common bytes too, it would fetch every key from memory for each eight of them.
func common(keys []sortKey, depth int) int {
	if len(keys) == 0 {
		return 0
	}
	prefix := keys[0].key.key[depth:]
	for i := 1; i < len(keys) && len(prefix) > 0; i++ {
		key := keys[i].key.key[depth:]
		if bytes.HasPrefix(key, prefix) {
			continue
		}
		n := 0
		for n < len(key) && key[n] == prefix[n] {
			n++
		}
		prefix = prefix[:n]
	}
	return len(prefix)
}
