package logstructured

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// keyCost and leaseCost approximate the space of a key and of a lease in addition to their bytes, as in etcd.
	keyCost   = 256
	leaseCost = 64
	// sizeInterval is how often the database is queried for its size while there is a quota.
	sizeInterval = 5 * time.Second
	// sizeFresh is the age up to which an answer is good enough to raise an alarm.
	sizeFresh = 200 * time.Millisecond
	// sizeTimeout bounds the query, and so the requests that wait for it.
	sizeTimeout = 5 * time.Second
)

// quota compares the size of the database with a limit, without a query for each write. It adds the bytes that were
// admitted here since the last query to the size that the query returned.
type quota struct {
	log   log.Log
	bytes int64

	inUse atomic.Int64
	// admitted counts the bytes that were admitted since the query that returned inUse.
	admitted atomic.Int64

	mu          sync.Mutex
	refreshedAt time.Time
}

// fits reports whether cost more bytes are within the limit. It queries the database before it returns false.
func (q *quota) fits(ctx context.Context, cost int) (bool, error) {
	if q.bytes <= 0 || q.within(cost) {
		return true, nil
	}
	if err := q.refresh(ctx); err != nil {
		return false, err
	}
	return q.within(cost), nil
}

func (q *quota) within(cost int) bool {
	return q.inUse.Load()+q.admitted.Load()+int64(cost) < q.bytes
}

// count adds the cost of a request that was admitted.
func (q *quota) count(cost int) {
	if q.bytes > 0 {
		q.admitted.Add(int64(cost))
	}
}

// refresh queries the database, unless it was queried a moment ago.
func (q *quota) refresh(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.refreshedAt) < sizeFresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sizeTimeout)
	defer cancel()
	before := q.admitted.Load()
	size, err := q.log.Size(ctx)
	if err != nil {
		return err
	}
	q.refreshedAt = time.Now()
	q.inUse.Store(size.InUse)
	q.admitted.Add(-before)
	return nil
}

// run keeps the size up to date until ctx ends. Without it the writes of other replicas would not be counted.
func (q *quota) run(ctx context.Context) error {
	for ctx.Err() == nil {
		_ = q.refresh(ctx) // the next query may succeed; requests report a lost database
		pause(ctx, sizeInterval)
	}
	return nil
}

// cost approximates the bytes that a request stores in the database, and adds to the index at most. It is zero for
// requests that must succeed without room.
type cost struct{ database, index int }

// cost returns the cost of the more expensive branch, as in etcd.
func (t *TxnRequest) cost() (dearest cost) {
	for _, branch := range [][]Op{t.Success, t.Failure} {
		var sum cost
		for _, op := range branch {
			var c cost
			switch op := op.(type) {
			case *PutRequest:
				c = op.cost()
			case *TxnRequest:
				c = op.cost()
			}
			sum.database, sum.index = sum.database+c.database, sum.index+c.index
		}
		dearest = cost{max(dearest.database, sum.database), max(dearest.index, sum.index)}
	}
	return dearest
}

func (p *PutRequest) cost() cost {
	return cost{keyCost + len(p.Key) + len(p.Value), rowMemory + keyMemory + int(memoryOf(len(p.Key)))}
}

// costOfLease is the cost of a grant.
var costOfLease = cost{leaseCost, leaseMemory}
