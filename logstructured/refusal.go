package logstructured

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// probeInterval is how often the writer tries to write while the database refuses writes.
	probeInterval = time.Second
	// refusedFor is how long all writes must have failed before a failure other than a full disk is reported.
	refusedFor = 2 * probeInterval
	// roomForWrites is the size in bytes of a write that shows that a disk is no longer full. A full disk still takes
	// small writes, which fit into existing pages of the database. Most Kubernetes objects are smaller than this.
	roomForWrites = 16 << 10
)

// refusals tracks whether the database accepts writes. Reads do not show it: a database with a full disk still answers
// them.
type refusals struct {
	logger *logrus.Entry
	// current is nil while the database accepts writes. Any goroutine may read it; only the writer changes it.
	current atomic.Pointer[refusal]
	// probedAt is when the writer last sent a write of its own.
	probedAt time.Time
}

// refusal is a period in which the database has refused writes, with the last of its errors.
type refusal struct {
	since time.Time
	err   error
}

func (r *refusal) full() bool { return errors.Is(r.err, log.ErrNoSpace) }

// reported reports whether users learn of the refusal: at once if the disk is full, and otherwise if no write has
// succeeded for a while.
func (r *refusal) reported() bool { return r.full() || time.Since(r.since) >= refusedFor }

// observe records the outcome of an append of size bytes.
func (r *refusals) observe(ctx context.Context, size int, err error) {
	current := r.current.Load()
	switch {
	case ctx.Err() != nil, errors.Is(err, log.ErrConflict), errors.Is(err, log.ErrTooLarge):
		return // the database did not refuse it
	case err != nil:
		r.refuse(current, err)
	case current != nil && (size >= roomForWrites || !current.full()):
		r.current.Store(nil)
		if current.reported() {
			r.logger.WithField("after", time.Since(current.since).Round(time.Millisecond)).
				Info("the database takes writes again")
		}
	}
}

func (r *refusals) refuse(current *refusal, err error) {
	next := &refusal{time.Now(), err}
	if current != nil {
		next.since = current.since
	} else {
		r.probedAt = next.since
	}
	if next.full() && (current == nil || !current.full()) {
		r.logger.WithError(err).Error("the disk of the database is full: writes fail until there is space")
	}
	r.current.Store(next)
}
