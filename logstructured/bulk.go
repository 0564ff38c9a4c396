package logstructured

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// valueBatchRows and valueBatchBytes bound the rows, and the bytes of their keys and values, of one call of
	// [log.Log.Values]. A row that is larger is a batch by itself.
	valueBatchRows  = 4096
	valueBatchBytes = 8 << 20
	// interactiveBytes bounds a read that need not wait for a turn in the lane lists.
	interactiveBytes = 1 << 20
	// Answers of at least largeBytes that are read at the same time have at most maxLargeBytes together. A single
	// larger answer is read alone.
	largeBytes    = 256 << 20
	maxLargeBytes = 1 << 30
)

// lanes share the database among the reads of many values. Reads in one lane take turns, and a turn is one batch. So
// each read makes progress, and none keeps a connection from the rest. Drivers have more connections than there are
// turns.
type lanes struct {
	// lists is for answers to clients, watches for past events, and scans for hashes and snapshots of everything.
	lists, watches, scans lane
	// large bounds the memory of large answers, for which concurrency gains nothing.
	large *semaphore.Weighted
}

func newLanes() lanes {
	return lanes{
		lists:   lane{turns: make(chan struct{}, 2), free: interactiveBytes},
		watches: lane{turns: make(chan struct{}, 1)},
		scans:   lane{turns: make(chan struct{}, 1)},
		large:   semaphore.NewWeighted(maxLargeBytes),
	}
}

// lane gives turns in the order of arrival. In the zero lane no read waits.
type lane struct {
	// turns holds an element for each turn that is taken.
	turns chan struct{}
	// free bounds the bytes of a read that needs no turn.
	free int64
}

// of returns the lane for a read of size bytes.
func (l lane) of(size int64) lane {
	if size <= l.free {
		return lane{}
	}
	return l
}

// query waits for a turn and queries the database. It returns the cause of ctx's end if ctx ends first.
func (l lane) query(ctx context.Context, source log.Log, positions []log.Position) (log.Values, error) {
	if l.turns != nil {
		select {
		case l.turns <- struct{}{}:
			defer func() { <-l.turns }()
		case <-ctx.Done():
			return log.Values{}, context.Cause(ctx)
		}
	}
	answer, err := source.Values(ctx, positions)
	if err != nil {
		return answer, unavailable(ctx, "read values", err)
	}
	return answer, nil
}

// reserve reserves memory for an answer of size bytes. The caller must call release.
func (l *lanes) reserve(ctx context.Context, size int64) (release func(), err error) {
	if l.large == nil || size < largeBytes {
		return func() {}, nil
	}
	weight := min(size, maxLargeBytes)
	if l.large.Acquire(ctx, weight) != nil {
		return nil, context.Cause(ctx)
	}
	return func() { l.large.Release(weight) }, nil
}

// valueBatch returns how many of the first rows form one batch, at least one.
func valueBatch(rows []*row) (n int) {
	for size := int64(0); n < len(rows) && n < valueBatchRows && size < valueBatchBytes; n++ {
		size += rows[n].cost()
	}
	return n
}

// fetch reads the values of a batch of rows, none of which is a tombstone, in a turn of the lane. errValueGone means
// that a row was deleted.
func fetch(ctx context.Context, source log.Log, in lane, rows []*row) ([][]byte, error) {
	positions := make([]log.Position, len(rows))
	for i, r := range rows {
		positions[i] = r.position
	}
	answer, err := in.query(ctx, source, positions)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		if !answer.Found[i] || answer.IDs[i] != r.id {
			return nil, fmt.Errorf("%w: position %d", errValueGone, r.position)
		}
		if err := r.verifyValue(answer.Values[i], answer.Checksums[i]); err != nil {
			return nil, err
		}
	}
	return answer.Values, nil
}

// peek returns the values of a batch of rows, nil for tombstones. It does not change the value cache: its callers read
// the whole history once, which would evict the values that clients use.
func peek(ctx context.Context, source log.Log, in lane, rows []*row) ([][]byte, error) {
	data := make([][]byte, len(rows))
	var missing []*row
	var at []int
	for i, r := range rows {
		if cv := r.value.Load(); cv != nil {
			data[i] = cv.data
		} else if !r.tombstone() {
			missing, at = append(missing, r), append(at, i)
		}
	}
	if len(missing) == 0 {
		return data, nil
	}
	fetched, err := fetch(ctx, source, in, missing)
	if err != nil {
		return nil, err
	}
	for i, value := range fetched {
		data[at[i]] = value
	}
	return data, nil
}

// maxAnswerBytes bounds the keys and values of one answer, because no gRPC message can be larger.
const maxAnswerBytes = 1<<31 - 1

// AnswerTooLargeError refuses a read whose answer does not fit in a message. No value was read for it.
type AnswerTooLargeError struct {
	// Bytes is the size of the keys and values, or of the first ones that exceed the limit.
	Bytes int64
}

func (e *AnswerTooLargeError) Error() string {
	return fmt.Sprintf("the answer has at least %d bytes, and a message carries at most %d", e.Bytes, maxAnswerBytes)
}
