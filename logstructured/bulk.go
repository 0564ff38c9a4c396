package logstructured

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// valueBatchRows and valueBatchBytes bound the rows, and the bytes of their keys and values, of one call of
	// [log.Log.Values]. A row that is larger is a batch of its own.
	valueBatchRows  = 4096
	valueBatchBytes = 8 << 20
	// interactiveBytes bounds a read that does not wait for its turn among the lists.
	interactiveBytes = 1 << 20
	// largeBytes is the size from which on the answers that are being read together stay below maxLargeBytes, unless it
	// is a single one.
	largeBytes    = 256 << 20
	maxLargeBytes = 1 << 30
)

// lanes share the database among the reads of many values: those of one kind take turns, and a turn is one batch, so
// that each of them makes progress and none keeps a connection from the others. Drivers have more connections than
// there are turns.
type lanes struct {
	// lists are the answers to clients, watches the events of the past, and scans the hashes and snapshots of
	// everything.
	lists, watches, scans lane
	// large bounds the memory of answers that are so large that making several at once gains nothing.
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

// lane gives turns in the order of arrival. The zero lane makes nobody wait.
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

// ask waits for a turn and asks the database. It returns the cause of ctx's end if that comes first.
func (l lane) ask(ctx context.Context, source log.Log, positions []log.Position) (log.Values, error) {
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

// hold reserves memory for an answer of size bytes. The caller calls release.
func (l *lanes) hold(ctx context.Context, size int64) (release func(), err error) {
	if l.large == nil || size < largeBytes {
		return func() {}, nil
	}
	weight := min(size, maxLargeBytes)
	if l.large.Acquire(ctx, weight) != nil {
		return nil, context.Cause(ctx)
	}
	return func() { l.large.Release(weight) }, nil
}

// valueBatch returns how many of the first rows are one batch, at least one.
func valueBatch(rows []*row) (n int) {
	for size := int64(0); n < len(rows) && n < valueBatchRows && size < valueBatchBytes; n++ {
		size += rows[n].cost()
	}
	return n
}

// fetch asks the database for the values of a batch of rows, none of which is a tombstone, when it is their turn.
// errValueGone means that a row was deleted.
func fetch(ctx context.Context, source log.Log, turn lane, rows []*row) ([][]byte, error) {
	positions := make([]log.Position, len(rows))
	for i, r := range rows {
		positions[i] = r.position
	}
	answer, err := turn.ask(ctx, source, positions)
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

// peek returns the values of a batch of rows, nil for tombstones, and leaves the value cache as it is: the caller goes
// through the whole history once, and clients would lose what they use.
func peek(ctx context.Context, source log.Log, turn lane, rows []*row) ([][]byte, error) {
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
	fetched, err := fetch(ctx, source, turn, missing)
	if err != nil {
		return nil, err
	}
	for i, value := range fetched {
		data[at[i]] = value
	}
	return data, nil
}

// maxAnswerBytes bounds the keys and values of one answer: no gRPC message is larger.
const maxAnswerBytes = 1<<31 - 1

// AnswerTooLargeError refuses a read whose answer no message can carry. Nothing was read for it.
type AnswerTooLargeError struct {
	// Bytes is the size of the keys and values, or of the first of them that are too many.
	Bytes int64
}

func (e *AnswerTooLargeError) Error() string {
	return fmt.Sprintf("the answer has at least %d bytes, and a message carries at most %d", e.Bytes, maxAnswerBytes)
}
