package logstructured

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// recoveryMargin is how far the revision jumps beyond the highest revision known to have been served. A replica that is
// gone cannot have served that many more revisions while it was ahead of the other replicas.
const recoveryMargin = 1_000_000

// rebuild builds the state again from the log. The log does not hold the entries that this replica applied, or has
// deleted entries that it has yet to apply. If the database went back in time, rebuild ensures that no revision that a
// client may have seen is used again. It does so before it publishes the new state.
func (w *writer) rebuild(ctx context.Context, cause error) error {
	start := time.Now()
	logger := w.logger.WithField("applied", w.published.head)
	logger.WithError(cause).
		Warn("the database does not hold the entries that this replica applied; reading the whole log again")
	end, err := w.log.End(ctx)
	if err != nil {
		return err
	}
	if end.ClusterID != w.cluster {
		return fmt.Errorf("%w: the database now holds the store of cluster %x, and this replica serves cluster %x: "+
			"restart it to serve the new cluster", log.ErrCorrupt, end.ClusterID, w.cluster)
	}
	st, leases, err := load(ctx, w.log, end)
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
	w.deleter.reset()
	w.publish(st.head)
	w.applied.restart(st.head)
	logger.WithFields(logrus.Fields{
		"revision": st.revision, "keys": st.keys.Len(), "took": time.Since(start).Round(time.Millisecond),
	}).Info("index rebuilt")
	return nil
}

// recover appends the entry that raises the revision above all revisions served from the lost history. It appends
// nothing if another replica has done so already. It brings st up to that entry.
func (w *writer) recover(ctx context.Context, st *state, leases *expiry, logger *logrus.Entry) error {
	start := time.Now()
	served := w.published.revision
	for st.recovered <= served {
		jump := []log.Entry{{
			Kind:     log.KindRecovery,
			Revision: max(st.revision, served) + recoveryMargin,
			Version:  int64(st.term) + 1,
		}}
		err := w.log.Append(w.appendCtx, st.head, newAppendID(w.turns.tag), jump)
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
	w.metrics.recoveries.Inc()
	logger.WithFields(logrus.Fields{
		"served-revision": served, "revision": st.revision, "compact-revision": st.compact, "term": st.term,
	}).Error("THE DATABASE WENT BACK IN TIME: writes that had been acknowledged are lost. " +
		"Every earlier revision counts as compacted, so that all watchers list again")
	return nil
}

// continues reports whether st is consistent with the state before: the remaining rows of that time are the same. It
// visits every key once, which costs little compared with reading the log.
func (st *state) continues(before *snapshot) bool {
	if st.revision < before.revision {
		return false
	}
	same := true
	st.keys.Scan(func(ki *keyIndex) bool {
		// Rows that before.compact made unreachable may be trimmed from the old index but still be in the database.
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

// holds reports whether r, which was read from the log again, is one of the rows.
func (ki *keyIndex) holds(r *row) bool {
	i, found := slices.BinarySearchFunc(ki.rows, r.position, func(have *row, position log.Position) int {
		return cmp.Compare(have.position, position)
	})
	return found && ki.rows[i].id == r.id
}
