package logstructured

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// patientAppends is after how many appends in vain they are made smaller.
	patientAppends = 2
)

// request is a write on its way through the writer.
type request struct {
	// ctx is the client's: when nobody waits any more before the request was evaluated, it is not evaluated at all.
	ctx context.Context //nolint:containedctx // a queued request carries its client's
	// expired is closed when the request has had its time; nil is never.
	expired <-chan struct{}
	// evaluate runs on the writer's goroutine, possibly several times, and leaves its result where the closure says.
	evaluate func(*step) error
	// err is what the last evaluation returned. It becomes known only with the outcome of the batch, because it may
	// follow from what the batch has not written yet.
	err error
	// done receives the outcome, once.
	done chan error
	// size in bytes, for the bound on what waits.
	size int64
	// last is set if the request is evaluated after the others of its group. Any order is right for those: none was answered
	// before another was sent.
	last bool
}

// gone returns why nobody waits for the outcome any more, or nil.
func (r *request) gone() error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	select {
	case <-r.expired:
		return ErrTimeout
	default:
		return nil
	}
}

// writer is the goroutine that owns the state: it evaluates, appends, follows and trims.
type writer struct {
	store *Store
	st    *state
	// published is the snapshot that readers have; st is it plus what is under evaluation.
	published *snapshot
	leases    expiry
	// cuts are the compactions whose history is still kept for watchers that lag.
	cuts []cut
	// trimmed is the position of the newest compaction of which everything was handed over for deletion.
	trimmed log.Position
	// turns shares the log with other replicas.
	turns turns
	// current is a local time at which everything that the log held had been applied.
	current time.Time
	// followed is when something that another process appended was last applied.
	followed time.Time
	// complained is when a failed append was last logged for people to see.
	complained time.Time
	// lasting outlives the context of run, for the append that is under way when the store stops.
	lasting context.Context //nolint:containedctx // it belongs to the goroutine as long as run
}

// cut drops the history below a compact revision when no watcher needs it any more, or at due.
type cut struct {
	revision Revision
	due      time.Time
}

// stopGrace is how long the append that is under way may take when the store stops.
const stopGrace = 10 * time.Second

// run takes requests until ctx ends. An append that is under way then is finished.
func (w *writer) run(ctx context.Context) error {
	s := w.store
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	w.lasting = lasting
	poll := time.NewTimer(w.pollInterval())
	defer poll.Stop()
	for {
		if s.health.failed != nil {
			w.refuse()
			return s.health.failed
		}
		var more <-chan struct{}
		if w.trim() {
			more = closed
		}
		select {
		case <-ctx.Done():
			w.refuse()
			return nil
		case first := <-s.queue:
			w.awaitTurn(ctx)
			w.commit(ctx, w.collect([]*request{first}))
		case <-s.behind:
			s.health.observe(ctx, w.catchUp(ctx))
			poll.Reset(w.sweep(ctx))
		case <-poll.C:
			w.follow(ctx)
			poll.Reset(w.sweep(ctx))
		case <-more:
		}
	}
}

// sweep drops what time has made superfluous, in bounded steps, and returns how long the next one may wait. It costs next to nothing when there is none.
func (w *writer) sweep(ctx context.Context) time.Duration {
	next := w.pollInterval()
	if w.store.health.answers() {
		w.leases.served(time.Now())
		if w.expire(ctx) {
			next = 0
		}
		w.probe(ctx)
	}
	w.leases.shrink(func(r *row) bool {
		ki := w.st.get(r.key)
		return ki != nil && ki.newest().position == r.position
	})
	w.cutHistory()
	return next
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// collect adds to the batch what waits behind it: the requests that arrive while an append is on its way to the disk are the next append.
func (w *writer) collect(batch []*request) []*request {
	batch, full := w.drain(batch)
	if missing := w.store.group.size() - len(batch); missing > 0 && !full {
		w.store.group.await(missing, func() int { return len(w.store.queue) })
		batch, _ = w.drain(batch)
	}
	return batch
}

// drain takes what is in the queue, and tells whether one append should not hold more. An empty queue does not mean that nobody is about to
// send: yielding lets the goroutines that can run do so first. It costs an idle process nothing.
func (w *writer) drain(batch []*request) (_ []*request, full bool) {
	const yields = 3
	var size int64
	for _, r := range batch {
		size += r.size
	}
	for yielded := 0; len(batch) < maxBatchEntries && size < maxBatchBytes; {
		select {
		case r := <-w.store.queue:
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

// refuse answers everything that waits when the store stops.
func (w *writer) refuse() {
	for {
		select {
		case r := <-w.store.queue:
			r.done <- ErrStopped
		default:
			return
		}
	}
}

// commit evaluates the batch and appends the outcome, again and again until its outcome is known. Requests leave
// the batch when their client has gone, or when they are answered. What one append should not carry
// is left for the next.
func (w *writer) commit(ctx context.Context, batch []*request) {
	// inVain counts the appends in a row that others were faster than.
	inVain := 0
	// accompanied is set once a group that writes nothing has waited for another request.
	accompanied := false
	for first := true; len(batch) > 0; first = false {
		if !first {
			w.awaitTurn(ctx)
		}
		w.followTold(ctx)
		if inVain >= patientAppends {
			batch = w.smallestFirst(batch)
		}
		lastLast(batch)
		sp := w.st.savepoint()
		ev, evaluated, rest := w.evaluate(batch, sp, batchBytes(inVain))
		if len(evaluated) == 0 {
			batch = rest
			continue
		}
		if ev.writesNothing() && len(rest) == 0 && !accompanied && time.Since(w.followed) > followedLately {
			accompanied = true
			if r := w.store.group.company(w.store.queue); r != nil {
				batch = w.collect(append(evaluated, r))
				continue
			}
		}
		err := w.append(ctx, ev, evaluated)
		switch {
		case err == nil:
			inVain, accompanied = 0, false
			w.store.group.answered(len(evaluated), len(w.store.queue), len(ev.entries) > 0)
			w.accept(ev)
			finish(evaluated, nil)
			batch = rest
		case errors.Is(err, log.ErrConflict):
			inVain++
			w.store.metrics.conflicts.Inc()
			w.turns.conflicted(inVain > 1)
			w.st.reset(w.published, sp)
			batch = append(evaluated, rest...)
			if err := w.catchUp(ctx); err != nil {
				finish(batch, failed(ctx, "follow the log", err))
				return
			}
		default:
			w.st.reset(w.published, sp)
			w.failing(ctx, err)
			finish(evaluated, failed(ctx, "append", err))
			batch = rest
		}
	}
}

// batchBytes bounds an append before which so many were in vain. A large one is longer on its way to the database than another replica takes for several
// small ones, and would come too late each time as long as that one has something to append.
func batchBytes(inVain int) int {
	const least = 16 << 10
	if inVain < patientAppends {
		return maxBatchBytes
	}
	return max(maxBatchBytes>>(2*inVain), least)
}

// smallestFirst adds what waits to a batch that others were faster than, so that a large request does not hold up all small ones. With what is small this
// replica gets into the log, and so its turn, which the others then wait for, with the large one.
func (w *writer) smallestFirst(batch []*request) []*request {
	batch, _ = w.drain(batch)
	slices.SortStableFunc(batch, func(a, b *request) int { return cmp.Compare(a.size, b.size) })
	return batch
}

// lastLast moves the requests that are evaluated last to the end of their group.
func lastLast(batch []*request) {
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

// failing notes a failed append. Those that the follower would not notice by itself are for health at once.
func (w *writer) failing(ctx context.Context, err error) {
	if errors.Is(err, log.ErrSyncFailed) || errors.Is(err, log.ErrCorrupt) {
		w.store.health.observe(ctx, err)
		return
	}
	w.complain(err)
}

// complain tells people that appends fail, but not for each one of them.
func (w *writer) complain(err error) {
	const often = 10 * time.Second
	level := logrus.DebugLevel
	if time.Since(w.complained) > often {
		level, w.complained = logrus.WarnLevel, time.Now()
	}
	w.store.logger.WithError(err).Log(level, "append failed")
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

// evaluate runs as many requests of the batch as one append should carry, on the state, which is left as if they were
// committed. It answers those whose client has gone. evaluated wait for the append; rest have not been looked at.
func (w *writer) evaluate(batch []*request, sp savepoint, limit int) (ev *evaluation, evaluated, rest []*request) {
	ev = &evaluation{st: w.st, values: &w.store.values, alarms: w.store.alarms, maxIndex: w.store.opts.MaxIndexBytes}
	for i, r := range batch {
		if len(ev.entries) >= maxBatchEntries || len(evaluated) > 0 && ev.size+int(r.size) > limit {
			return ev, evaluated, batch[i:]
		}
		if err := r.gone(); err != nil {
			r.done <- err
			continue
		}
		before := len(ev.entries)
		r.err = r.evaluate(ev.begin(r.ctx))
		if r.err != nil && len(ev.entries) > before {
			// It failed halfway, because the database did: take its writes back by starting over without it.
			r.done <- r.err
			w.st.reset(w.published, sp)
			return w.evaluate(slices.Concat(evaluated, batch[i+1:]), sp, limit)
		}
		evaluated = append(evaluated, r)
	}
	return ev, evaluated, nil
}

// append writes the entries. Nil means that they are in the log and durable, and that the state was current when they came
// in. Without entries it makes sure of that alone: a transaction that wrote nothing has read the current state.
func (w *writer) append(ctx context.Context, ev *evaluation, batch []*request) error {
	// Not the requests' contexts: they are many, and one of them must not end the append of the others.
	ev.renew()
	if len(ev.entries) == 0 {
		end, err := w.store.log.End(ctx)
		if err == nil && end.Head != w.published.head {
			err = log.ErrConflict
		}
		return err
	}
	id := newAppendID(w.turns.tag)
	start := time.Now()
	err := w.store.log.Append(w.lasting, w.published.head, id, ev.entries)
	w.store.metrics.appended(time.Since(start), len(ev.entries), len(batch))
	w.store.refusals.observe(ctx, ev.size, err)
	if errors.Is(err, log.ErrUnknown) {
		w.store.metrics.unknown.Inc()
		err = w.resolve(ctx, err, id, ev, batch)
	}
	if err == nil {
		w.st.head = after(w.published.head, id, ev.entries)
		w.turns.taken(time.Since(start))
		w.store.group.appended(time.Since(start))
		w.current = start
	}
	return err
}

// after is the head once entries were appended after guard.
func after(guard log.Head, id log.AppendID, entries []log.Entry) log.Head {
	return log.Head{Position: guard.Position + log.Position(len(entries)), ID: id}
}

// resolve determines the outcome of an append that failed with unknown, which wraps ErrUnknown. As long as the log ends where it did, the append may
// still take effect, so the same append is tried again under the same guard; once another entry stands in its place it has failed.
// It gives up when nobody waits any more, or when what stands there cannot be seen any more.
func (w *writer) resolve(ctx context.Context, unknown error, id log.AppendID, ev *evaluation, batch []*request) error {
	guard := w.published.head
	logger := w.store.logger.WithField("append", fmt.Sprintf("%x", uint64(id)))
	logger.WithError(unknown).Warn("the outcome of an append is unknown; reading the log to find it")
	for attempt := 0; ; attempt++ {
		if !awaited(batch) || ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, log.ErrUnknown)
		}
		next, err := w.entryAfter(ctx, guard)
		switch {
		case errors.Is(err, errEntryGone), errors.Is(err, log.ErrSyncFailed), errors.Is(err, log.ErrCorrupt):
			return fmt.Errorf("%w: %w: %w", ErrUnavailable, log.ErrUnknown, err)
		case err != nil:
		case next == nil:
			err = w.store.log.Append(w.lasting, guard, id, ev.entries)
			w.store.refusals.observe(ctx, ev.size, err)
			if err == nil {
				logger.Info("the append took effect when it was repeated")
				return nil
			}
		case next.ID == id:
			// The time is the database's at the append that took effect, and not at one that was repeated.
			for i := range ev.entries {
				ev.entries[i].Position, ev.entries[i].ID, ev.entries[i].Time = guard.Position+1+log.Position(i), id, next.Time
			}
			// That it is there does not mean that it is durable.
			if err = w.store.log.Confirm(w.lasting, after(guard, id, ev.entries)); err == nil {
				w.store.refusals.observe(ctx, ev.size, nil)
				logger.Info("the append had taken effect")
				return nil
			}
		default:
			logger.Info("the append had failed: another append took its place")
			return log.ErrConflict
		}
		if err != nil {
			logger.WithError(err).Debug("still unknown")
			pause(ctx, backoff(attempt))
		}
	}
}

// awaited tells whether a client still waits for one of the requests.
func awaited(batch []*request) bool {
	for _, r := range batch {
		if r.gone() == nil {
			return true
		}
	}
	return false
}

// errEntryGone means that the log does not show what followed an entry: it was deleted, or the database went back in time.
var errEntryGone = errors.New("the log does not show what became of an append")

// entryAfter returns the entry that follows head, or nil if head is the end.
func (w *writer) entryAfter(ctx context.Context, head log.Head) (*log.Entry, error) {
	entries, end, err := w.store.log.Read(ctx, head.Position, 1)
	if err != nil {
		return nil, err
	}
	if end.Head == head {
		return nil, nil
	}
	if len(entries) == 0 || entries[0].Position != head.Position+1 {
		return nil, fmt.Errorf("%w: what was after %s is gone", errEntryGone, head)
	}
	return &entries[0], nil
}

// accept publishes what was evaluated, now that it is in the log.
func (w *writer) accept(ev *evaluation) {
	if len(ev.entries) == 0 {
		return
	}
	for i, r := range ev.rows {
		e := &ev.entries[i]
		w.leases.note(e, r, w.current)
		if r == nil {
			w.accepted(e)
			continue
		}
		r.place(e)
		if cv := r.value.Load(); cv != nil {
			w.store.values.admit(r, cv)
		}
	}
	w.publish(w.st.head)
}

// accepted does what follows from an entry that is not of a key and has been applied.
func (w *writer) accepted(e *log.Entry) {
	if e.Kind == log.KindRecovery || e.Kind == log.KindCompaction {
		w.st.compactedAt = w.leases.adjusted(e.Time, w.current)
	}
	switch e.Kind {
	case log.KindRecovery:
		w.cuts = nil
		w.store.metrics.recoveries.Inc()
		if tagOf(e.ID) == w.turns.tag {
			break // and it was asked for here
		}
		w.store.logger.WithFields(logrus.Fields{"revision": e.Revision, "term": e.Version}).
			Error("another replica found that THE DATABASE WENT BACK IN TIME: every earlier revision counts as compacted, so that all watchers list again")
	case log.KindCompaction:
		w.cuts = append(w.cuts, cut{e.Revision, w.retainedUntil()})
		w.store.logger.WithField("compact-revision", e.Revision).Info("compacted")
	}
}

// publish shows the state to readers and watchers. heads are the ends of the appends that it has applied since it was last shown.
func (w *writer) publish(heads ...log.Head) {
	w.published = w.st.publish()
	w.store.hub.publish(w.published)
	w.store.applied.advance(heads...)
	w.store.metrics.published(w.published)
}

// republish shows readers the state, in which only rows were dropped that nobody may read.
func (w *writer) republish() {
	w.published = w.st.publish()
	w.store.hub.publish(w.published)
}

// trim drops a bounded number of unreachable rows, so that requests get their turn in between.
func (w *writer) trim() (more bool) {
	const limit = 512
	dropped, more := w.st.trim(limit, nil)
	if !more {
		defer w.trimControl()
	}
	if len(dropped) == 0 {
		return more
	}
	positions := make([]log.Position, 0, len(dropped))
	for _, r := range dropped {
		positions = append(positions, r.position)
	}
	w.store.values.forget(dropped)
	w.store.deleter.drop(deletion{
		positions: positions,
		floor:     w.st.compaction,
		due:       w.retainedUntil(),
	})
	w.republish()
	return more
}

// maxDeadControl is how many dead entries that are not of keys wait for the next compaction.
const maxDeadControl = 10_000

// trimControl hands over the dead entries that are not of keys, after those of the newest compaction.
func (w *writer) trimControl() {
	dead := len(w.st.garbage.control) + len(w.leases.dead)
	if dead > 0 && (w.trimmed != w.st.compaction || dead >= maxDeadControl) {
		w.store.deleter.drop(deletion{
			positions: slices.Concat(w.st.garbage.control, w.leases.dead),
			floor:     w.published.head.Position,
			due:       time.Now().Add(w.store.opts.CompactRetention),
		})
		w.st.garbage.control, w.leases.dead = nil, nil
	}
	if w.trimmed != w.st.compaction {
		w.trimmed = w.st.compaction
		w.store.deleter.trimmedUpTo(w.trimmed)
	}
}

// retainedUntil is when the retention of the newest compaction ends.
func (w *writer) retainedUntil() time.Time {
	return w.leases.localTime(w.st.compactedAt).Add(w.store.opts.CompactRetention)
}

// cutHistory drops the history before a compaction. Watchers that were ahead of it when it came are not hurt by it, unless they lag for
// longer than the rows are retained.
func (w *writer) cutHistory() {
	if len(w.cuts) == 0 {
		return
	}
	c := w.cuts[0]
	if w.store.hub.oldest() < c.revision && time.Now().Before(c.due) {
		return
	}
	w.cuts = w.cuts[1:]
	w.st.cut(c.revision)
	w.republish()
}
