package logstructured

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// The bounds of one append that holds several requests. A single request may exceed them.
const (
	maxBatchEntries = 1024
	maxBatchBytes   = 4 << 20
	// maxFullConflicts is the number of consecutive conflicts after which appends are made smaller.
	maxFullConflicts = 2
)

// collect adds the waiting requests to the batch: the requests that arrive while an append is being written to disk
// form the next append.
func (w *writer) collect(batch []*request) []*request {
	batch, full := w.drain(batch)
	if missing := w.queue.group.size() - len(batch); missing > 0 && !full {
		w.queue.group.await(missing, func() int { return len(w.queue.requests) })
		batch, _ = w.drain(batch)
	}
	return batch
}

// drain adds the queued requests to the batch, and reports whether the batch has reached the bounds of one append. A
// queue may be empty only because the goroutines that are about to send have not run yet, so drain yields to them
// first. That costs an idle process nothing.
func (w *writer) drain(batch []*request) (_ []*request, full bool) {
	const yields = 3
	var size int64
	for _, r := range batch {
		size += r.size
	}
	for yielded := 0; len(batch) < maxBatchEntries && size < maxBatchBytes; {
		select {
		case r := <-w.queue.requests:
			batch = append(batch, r)
			size += r.size
		default:
			if yielded++; yielded > yields {
				return batch, false
			}
			runtime.Gosched()
		}
	}
	return batch, true
}

// commit evaluates the batch and appends the resulting entries, and retries until every request has an outcome. A
// request leaves the batch when its client has gone or when it is answered. Requests that exceed the bounds of one
// append are left for the next.
func (w *writer) commit(ctx context.Context, batch []*request) {
	// conflicts counts the consecutive conflicts.
	conflicts := 0
	// delayed is set once a group that writes nothing has waited for another request.
	delayed := false
	for first := true; len(batch) > 0; first = false {
		if !first {
			w.awaitTurn(ctx)
		}
		w.catchUpIfNotified(ctx)
		if conflicts >= maxFullConflicts {
			batch = w.smallestFirst(batch)
		}
		moveLast(batch)
		sp := w.st.savepoint()
		d, evaluated, rest := w.evaluate(batch, sp, batchBytes(conflicts))
		if len(evaluated) == 0 {
			batch = rest
			continue
		}
		if d.writesNothing() && len(rest) == 0 && !delayed && time.Since(w.followedAt) > followedLately {
			delayed = true
			if r := w.queue.group.nextArrival(w.queue.requests); r != nil {
				batch = w.collect(append(evaluated, r))
				continue
			}
		}
		err := w.append(ctx, d, evaluated)
		switch {
		case err == nil:
			conflicts, delayed = 0, false
			w.queue.group.answered(len(evaluated), len(w.queue.requests), len(d.entries) > 0)
			w.accept(d)
			finish(evaluated, nil)
			batch = rest
		case errors.Is(err, log.ErrConflict):
			conflicts++
			w.metrics.conflicts.Inc()
			w.turns.conflicted(conflicts > 1)
			w.st.reset(w.published, sp)
			batch = append(evaluated, rest...)
			if err := w.catchUp(ctx); err != nil {
				finish(batch, failed(ctx, "follow the log", err))
				return
			}
		default:
			w.st.reset(w.published, sp)
			w.reportFailure(ctx, err)
			finish(evaluated, failed(ctx, "append", err))
			batch = rest
		}
	}
}

// commitOne commits a request of the writer itself.
func (w *writer) commitOne(ctx context.Context, evaluate func(*evaluation) error) error {
	return w.commitAll(ctx, []func(*evaluation) error{evaluate})[0]
}

// commitAll commits requests of the writer itself and returns the error of each.
func (w *writer) commitAll(ctx context.Context, evaluate []func(*evaluation) error) []error {
	bounded, cancel := context.WithTimeout(ctx, w.opts.RequestTimeout)
	defer cancel()
	batch := make([]*request, len(evaluate))
	for i, f := range evaluate {
		batch[i] = &request{ctx: bounded, done: make(chan error, 1), evaluate: f}
	}
	// commit changes the batch, so it gets a copy.
	w.commit(ctx, slices.Clone(batch))
	errs := make([]error, len(batch))
	for i, r := range batch {
		errs[i] = <-r.done
	}
	return errs
}

// batchBytes bounds the size of an append after that many consecutive conflicts. A large append takes longer to reach
// the database than several small ones of another replica. It would conflict each time for as long as that replica has
// entries to append.
func batchBytes(conflicts int) int {
	const least = 16 << 10
	if conflicts < maxFullConflicts {
		return maxBatchBytes
	}
	return max(maxBatchBytes>>(2*conflicts), least)
}

// smallestFirst adds the queued requests to a batch after conflicts, and sorts it by size. A large request then does
// not hold up all small ones. Once a small append succeeds, this replica gets a turn, for which the other replicas
// wait, and appends the large request.
func (w *writer) smallestFirst(batch []*request) []*request {
	batch, _ = w.drain(batch)
	slices.SortStableFunc(batch, func(a, b *request) int { return cmp.Compare(a.size, b.size) })
	return batch
}

// moveLast moves the requests that have last set to the end of the batch.
func moveLast(batch []*request) {
	last := func(r *request) bool { return r.last }
	if !slices.ContainsFunc(batch, last) {
		return
	}
	var tail []*request
	for _, r := range batch {
		if r.last {
			tail = append(tail, r)
		}
	}
	copy(batch[len(slices.DeleteFunc(batch, last)):], tail)
}

// evaluate runs as many requests of the batch as fit in one append. It leaves the state as if they were committed. It
// answers the requests whose client has gone. The requests in evaluated wait for the append; the requests in rest were
// not evaluated.
func (w *writer) evaluate(batch []*request, sp savepoint, limit int) (d *draft, evaluated, rest []*request) {
	d = &draft{
		st: w.st, leases: &w.leases, values: &w.values, alarms: w.alarms, maxIndex: w.opts.MaxIndexBytes,
	}
	for i, r := range batch {
		if len(d.entries) >= maxBatchEntries || len(evaluated) > 0 && d.size+int(r.size) > limit {
			return d, evaluated, batch[i:]
		}
		if err := r.gone(); err != nil {
			r.done <- err
			continue
		}
		before := len(d.entries)
		r.err = r.evaluate(d.evaluation(r.ctx))
		if r.err != nil && len(d.entries) > before {
			// The request failed halfway, because the database failed. Undo its writes: start over without it.
			r.done <- r.err
			w.st.reset(w.published, sp)
			return w.evaluate(slices.Concat(evaluated, batch[i+1:]), sp, limit)
		}
		evaluated = append(evaluated, r)
	}
	return d, evaluated, nil
}

// reportFailure reports a failed append. A failed sync and corruption go to health at once, because the follower would
// not notice them. Other failures are logged, as a warning if there was none for a while and at debug level otherwise.
func (w *writer) reportFailure(ctx context.Context, err error) {
	const often = 10 * time.Second
	if errors.Is(err, log.ErrSyncFailed) || errors.Is(err, log.ErrCorrupt) {
		w.health.observe(ctx, err)
		return
	}
	level := logrus.DebugLevel
	if time.Since(w.warnedAt) > often {
		level, w.warnedAt = logrus.WarnLevel, time.Now()
	}
	w.logger.WithError(err).Log(level, "append failed")
}

func finish(batch []*request, err error) {
	for _, r := range batch {
		if err != nil {
			r.done <- err
		} else {
			r.done <- r.err
		}
	}
}
