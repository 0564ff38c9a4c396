package logstructured

import (
	"context"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// writer is the goroutine that owns the state: it evaluates, appends, follows and trims.
type writer struct {
	*shared
	st *state
	// published is the snapshot that readers use. st is that snapshot plus the requests under evaluation.
	published *snapshot
	leases    expiry
	// cuts are the compactions whose history is still kept for watchers that lag.
	cuts []cut
	// trimmed is the position of the newest compaction whose rows have all been handed to the deleter.
	trimmed log.Position
	// turns decides when this replica may append, so that the replicas append one after the other.
	turns turns
	// appliedAt is a local time at which this replica had applied the whole log.
	appliedAt time.Time
	// followedAt is when this replica last applied an entry of another process.
	followedAt time.Time
	// warnedAt is when a failed append was last logged as a warning.
	warnedAt time.Time
	// appendCtx outlives the context of run, so that an append in progress can finish when the store stops.
	appendCtx context.Context //nolint:containedctx // it belongs to the goroutine as long as run
}

// cut is a compaction whose history is still kept. The history below revision is dropped once no watcher needs it, and
// at due in any case.
type cut struct {
	revision Revision
	due      time.Time
}

func newWriter(s *shared, st *state, leases expiry, loadedAt time.Time) *writer {
	return &writer{
		shared: s, st: st, published: st.publish(), leases: leases, turns: turns{tag: newReplicaTag()},
		appliedAt: loadedAt, // the entries that are applied next were appended later
	}
}

// accept publishes a draft whose entries are now in the log.
func (w *writer) accept(d *draft) {
	if len(d.entries) == 0 {
		return
	}
	for i, r := range d.rows {
		e := &d.entries[i]
		w.leases.note(e, r, w.appliedAt)
		if r == nil {
			w.accepted(e)
			continue
		}
		r.place(e)
		if cv := r.value.Load(); cv != nil {
			w.values.insert(r, cv)
		}
	}
	w.publish(w.st.head)
}

// accepted handles the effects of an applied control entry, an entry that is not of a key.
func (w *writer) accepted(e *log.Entry) {
	if e.Kind == log.KindRecovery || e.Kind == log.KindCompaction {
		w.st.compactedAt = w.leases.adjusted(e.Time, w.appliedAt)
	}
	switch e.Kind {
	case log.KindRecovery:
		w.cuts = nil
		w.metrics.recoveries.Inc()
		if tagOf(e.ID) == w.turns.tag {
			break // requested by Store.Recover of this replica
		}
		w.logger.WithFields(logrus.Fields{"revision": e.Revision, "term": e.Version}).
			Error("another replica found that THE DATABASE WENT BACK IN TIME: " +
				"every earlier revision counts as compacted, so that all watchers list again")
	case log.KindCompaction:
		w.cuts = append(w.cuts, cut{e.Revision, w.retainedUntil()})
		w.logger.WithField("compact-revision", e.Revision).Info("compacted")
	}
}

// publish makes the state visible to readers and watchers. heads are the heads after each append that was applied since
// the last call.
func (w *writer) publish(heads ...log.Head) {
	w.published = w.st.publish()
	w.hub.publish(w.published)
	w.applied.advance(heads...)
	w.metrics.published(w.published)
}

// republish publishes a state that differs from the published one only in dropped rows, which readers cannot reach.
func (w *writer) republish() {
	w.published = w.st.publish()
	w.hub.publish(w.published)
}

// trim removes a bounded number of unreachable rows from memory, and hands them to the deleter. The bound keeps
// requests from waiting long. It reports whether more rows are left.
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
	w.values.forget(dropped)
	w.deleter.drop(deletion{
		positions: positions,
		floor:     w.st.compaction,
		due:       w.retainedUntil(),
	})
	w.republish()
	return more
}

// maxDeadControl is how many garbage control entries may wait for the next compaction. At that number they are deleted
// without one.
const maxDeadControl = 10_000

// trimControl hands the garbage control entries to the deleter. It runs once all rows of the newest compaction have
// been handed over.
func (w *writer) trimControl() {
	dead := len(w.st.garbage.control) + len(w.leases.dead)
	if dead > 0 && (w.trimmed != w.st.compaction || dead >= maxDeadControl) {
		w.deleter.drop(deletion{
			positions: slices.Concat(w.st.garbage.control, w.leases.dead),
			floor:     w.published.head.Position,
			due:       time.Now().Add(w.opts.CompactRetention),
		})
		w.st.garbage.control, w.leases.dead = nil, nil
	}
	if w.trimmed != w.st.compaction {
		w.trimmed = w.st.compaction
		w.deleter.trimmedUpTo(w.trimmed)
	}
}

// retainedUntil returns when the retention of the newest compaction ends.
func (w *writer) retainedUntil() time.Time {
	return w.leases.localTime(w.st.compactedAt).Add(w.opts.CompactRetention)
}

// cutHistory drops the history before the oldest compaction in cuts. It waits for watchers that were created before the
// compaction and have yet to read that history, but no longer than the rows are retained.
func (w *writer) cutHistory() {
	if len(w.cuts) == 0 {
		return
	}
	c := w.cuts[0]
	if w.hub.oldest() < c.revision && time.Now().Before(c.due) {
		return
	}
	w.cuts = w.cuts[1:]
	w.st.cut(c.revision)
	w.republish()
}
