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
			w.store.values.insert(r, cv)
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

// publish shows the state to readers and watchers. heads are the ends of the appends that it has applied since it was
// last shown.
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

// cutHistory drops the history before a compaction. Watchers that were ahead of it when it came are not hurt by it,
// unless they lag for longer than the rows are retained.
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
