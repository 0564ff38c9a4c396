package logstructured

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// recoveryMargin is how far the revision jumps beyond the highest that is known to have been served: further than what
// a replica that is gone can have served in the time that it was ahead of the others.
const recoveryMargin = 1_000_000

// rebuild makes the state anew from the log, which does not hold what was applied here or does not show it any more. If
// the database went back in time it makes sure that no revision which a client may have seen is used again, before
// anything of the new state is shown.
func (w *writer) rebuild(ctx context.Context, cause error) error {
	start := time.Now()
	logger := w.store.logger.WithField("applied", w.published.head)
	logger.WithError(cause).Warn("the database does not hold the entries that this replica applied; reading the whole log again")
	end, err := w.store.log.End(ctx)
	if err != nil {
		return err
	}
	if end.ClusterID != w.store.cluster {
		return fmt.Errorf("%w: the database now holds the store of cluster %x, and this is cluster %x: restart to serve it", log.ErrCorrupt, end.ClusterID, w.store.cluster)
	}
	st, leases, err := load(ctx, w.store.log, end)
	if err == nil {
		err = st.unfinishedImport()
	}
	if err != nil {
		return err
	}
	if !errors.Is(cause, errBehindFloor) || !st.continues(w.published) {
		if err := w.recover(ctx, st, &leases, logger); err != nil {
			return err
		}
		st.compactedAt = leases.reading(time.Now())
	}
	w.st, w.leases, w.cuts = st, leases, nil
	w.store.deleter.reset()
	w.publish(st.head)
	w.store.applied.restart(st.head)
	logger.WithFields(logrus.Fields{
		"revision": st.revision, "keys": st.keys.Len(), "took": time.Since(start).Round(time.Millisecond),
	}).Info("index rebuilt")
	return nil
}

// recover appends the entry by which the revision jumps over all that was served from the lost history, unless another
// replica has done so already, and brings st up to it.
func (w *writer) recover(ctx context.Context, st *state, leases *expiry, logger *logrus.Entry) error {
	start := time.Now()
	served := w.published.revision
	for st.recovered <= served {
		jump := []log.Entry{{
			Kind:     log.KindRecovery,
			Revision: max(st.revision, served) + recoveryMargin,
			Version:  int64(st.term) + 1,
		}}
		err := w.store.log.Append(w.lasting, st.head, newAppendID(w.turns.tag), jump)
		if err == nil {
			st.apply(&jump[0])
			break
		}
		if !errors.Is(err, log.ErrConflict) {
			return fmt.Errorf("%w (mark that the database went back in time)", err)
		}
		err = w.readOn(ctx, st.head, func(entries []log.Entry) {
			for i := range entries {
				leases.note(&entries[i], st.apply(&entries[i]), start)
			}
		})
		if err != nil {
			return err
		}
	}
	w.store.metrics.recoveries.Inc()
	logger.WithFields(logrus.Fields{
		"served-revision": served, "revision": st.revision, "compact-revision": st.compact, "term": st.term,
	}).Error("THE DATABASE WENT BACK IN TIME: writes that had been acknowledged are lost. Every earlier revision counts as compacted, so that all watchers list again")
	return nil
}

// Recover makes the revision jump by bump and counts everything before as compacted, so that no revision that clients
// may have seen in a history that was lost is used again and all of them list again: for a database that was put back
// to an older state while nobody looked. It returns the new revision.
func (s *Store) Recover(ctx context.Context, bump Revision) (Revision, error) {
	var revision Revision
	err := s.write(ctx, 0, func(st *step) error {
		if bump < 1 || bump > math.MaxInt64-st.st.revision {
			return fmt.Errorf("cannot raise revision %d by %d", st.st.revision, bump)
		}
		revision = st.st.revision + bump
		st.writeControl(log.Entry{Kind: log.KindRecovery, Revision: revision, Version: int64(st.st.term) + 1})
		return nil
	})
	return revision, err
}

// continues tells whether nothing in st contradicts what was applied before: the rows that are left of that time are
// the same. It costs one look at every key, which is little beside the reading of the log.
func (st *state) continues(before *snapshot) bool {
	if st.revision < before.revision {
		return false
	}
	same := true
	st.keys.Scan(func(ki *keyIndex) bool {
		// What the compact revision had made unreachable may have left the index before, but not the database.
		rows := ki.rows[ki.firstKept(max(before.compact, 0)):]
		if len(rows) == 0 || rows[0].position > before.head.Position {
			return true
		}
		old := before.get(ki.key)
		for _, r := range rows {
			if r.position > before.head.Position {
				break
			}
			if same = old != nil && old.holds(r); !same {
				return false
			}
		}
		return true
	})
	return same
}

// holds tells whether r, that was read from the log again, is one of the rows.
func (ki *keyIndex) holds(r *row) bool {
	i, found := slices.BinarySearchFunc(ki.rows, r.position, func(have *row, position log.Position) int { return cmp.Compare(have.position, position) })
	return found && ki.rows[i].id == r.id
}
