package logstructured

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// health tells people, once each time, that the database was lost and that it is back. Only the writer uses it, unless a method says otherwise.
type health struct {
	logger  *logrus.Entry
	damages prometheus.Counter
	// alerted is when damage was last logged for people to see, in nanoseconds.
	alerted atomic.Int64
	lost    time.Time
	// lostAt is lost in nanoseconds, or 0. Any goroutine may read it.
	lostAt atomic.Int64
	// failed is a failure with which the store ends.
	failed error
	// corrupt reports whether the database was corrupt when it was last asked. Any goroutine may read it.
	corrupt atomic.Bool
}

func (h *health) observe(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	h.corrupt.Store(errors.Is(err, log.ErrCorrupt))
	switch {
	case errors.Is(err, log.ErrSyncFailed):
		h.failed = err
	case err != nil && h.lost.IsZero() && errors.Is(err, log.ErrCorrupt):
		h.lose()
		h.damages.Inc()
		h.logger.WithError(err).Error("the database is corrupt; refusing all writes and linearizable reads, with the alarm CORRUPT")
	case err != nil && h.lost.IsZero():
		h.lose()
		h.logger.WithError(err).Error("the database does not answer; trying again until it does")
	case err == nil && !h.lost.IsZero():
		h.logger.WithField("after", time.Since(h.lost).Round(time.Millisecond)).Info("the database answers again")
		h.lost = time.Time{}
		h.lostAt.Store(0)
	}
}

func (h *health) lose() {
	h.lost = time.Now()
	h.lostAt.Store(h.lost.UnixNano())
}

// lostFor reports whether the database has not answered for at least d.
func (h *health) lostFor(d time.Duration) bool {
	at := h.lostAt.Load()
	return at != 0 && time.Now().UnixNano()-at >= int64(d)
}

// damaged counts and logs err if it is damage that was found in the database. It may be called concurrently.
func (h *health) damaged(err error) {
	const often = 10 * time.Second
	if !errors.Is(err, log.ErrCorrupt) {
		return
	}
	h.damages.Inc()
	now := time.Now().UnixNano()
	if last := h.alerted.Load(); now-last < int64(often) || !h.alerted.CompareAndSwap(last, now) {
		h.logger.WithError(err).Debug("a read met damage")
		return
	}
	h.logger.WithError(err).Error("THE DATABASE IS DAMAGED: whatever needs the damaged row fails until it is repaired; `stele check --values` lists all damage")
}

// suspect notes that an answer for a client showed corruption, before the writer asks the database again. Any goroutine may call it.
func (h *health) suspect(err error) {
	if errors.Is(err, log.ErrCorrupt) {
		h.corrupt.Store(true)
	}
}

// answers tells whether the database did when it was last asked.
func (h *health) answers() bool { return h.lost.IsZero() }
