package logstructured

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// keyCost and leaseCost approximate what a key and a lease take up beside their bytes; etcd's.
	keyCost   = 256
	leaseCost = 64
	// sizeInterval is how often the database is asked for its size while there is a quota.
	sizeInterval = 5 * time.Second
	// sizeFresh is the age up to which an answer is good enough to raise an alarm.
	sizeFresh = 200 * time.Millisecond
	// sizeTimeout bounds the question, and so what waits for its answer.
	sizeTimeout = 5 * time.Second
)

// quota compares what the database takes up with a limit, without asking it on every write: to what it answered last is
// added what was admitted here since.
type quota struct {
	log   log.Log
	bytes int64

	inUse atomic.Int64
	// admitted counts the bytes that were admitted since the question that inUse is the answer to.
	admitted atomic.Int64

	mu    sync.Mutex
	asked time.Time
}

// fits tells whether cost bytes more are within the limit. Before it says no it asks the database.
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

// refresh asks the database, unless it was just asked.
func (q *quota) refresh(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.asked) < sizeFresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sizeTimeout)
	defer cancel()
	before := q.admitted.Load()
	size, err := q.log.Size(ctx)
	if err != nil {
		return err
	}
	q.asked = time.Now()
	q.inUse.Store(size.InUse)
	q.admitted.Add(-before)
	return nil
}

// run keeps the answer fresh until ctx ends. What is written by other replicas is not known otherwise.
func (q *quota) run(ctx context.Context) error {
	for ctx.Err() == nil {
		_ = q.refresh(ctx) // the next one may do better; that the database is lost is told by what needs it
		pause(ctx, sizeInterval)
	}
	return nil
}

// cost approximates what a request stores, in bytes: in the database, and in the index at most. It is zero for what
// must go on without room.
type cost struct{ database, index int }

// cost is that of the dearer branch, as etcd has it.
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
