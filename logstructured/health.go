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

// health logs when the database is lost, once per remindEvery during the outage, and when it answers again. Only the
// writer uses it, except where a field or method says otherwise.
type health struct {
	logger  *logrus.Entry
	damages prometheus.Counter
	// alertedAt is when damage was last logged as an error, in nanoseconds.
	alertedAt atomic.Int64
	lostSince time.Time
	// remindedAt is when the outage was last logged.
	remindedAt time.Time
	// lostAt is lostSince in nanoseconds, or 0. Any goroutine may read it.
	lostAt atomic.Int64
	// failed is the failure that ends the store.
	failed error
	// corrupt reports whether the last answer of the database showed corruption. Any goroutine may read it.
	corrupt atomic.Bool
}

// remindEvery is how often an ongoing outage is logged again, because its cause may have changed.
const remindEvery = time.Minute

func (h *health) observe(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	h.corrupt.Store(errors.Is(err, log.ErrCorrupt))
	switch {
	case errors.Is(err, log.ErrSyncFailed):
		h.failed = err
	case err != nil:
		h.failing(err)
	case err == nil && !h.lostSince.IsZero():
		h.logger.WithField("after", time.Since(h.lostSince).Round(time.Millisecond)).Info("the database answers again")
		h.lostSince = time.Time{}
		h.lostAt.Store(0)
	}
}

// failing begins or continues an outage, and logs it.
func (h *health) failing(err error) {
	logger := h.logger.WithError(err)
	corrupt := errors.Is(err, log.ErrCorrupt)
	switch now := time.Now(); {
	case h.lostSince.IsZero():
		h.lostSince = now
		h.lostAt.Store(now.UnixNano())
		if corrupt {
			h.damages.Inc()
		}
	case now.Sub(h.remindedAt) < remindEvery:
		return
	default:
		logger = logger.WithField("for", now.Sub(h.lostSince).Round(time.Second))
	}
	h.remindedAt = time.Now()
	if corrupt {
		logger.Error("the database is corrupt; refusing all writes and linearizable reads, with the alarm CORRUPT")
		return
	}
	logger.Error("the database does not answer; trying again until it does")
}

// lostFor reports whether the database has not answered for at least d.
func (h *health) lostFor(d time.Duration) bool {
	at := h.lostAt.Load()
	return at != 0 && time.Now().UnixNano()-at >= int64(d)
}

// damaged counts and logs err if it means that the database is damaged. It may be called concurrently.
func (h *health) damaged(err error) {
	const often = 10 * time.Second
	if !errors.Is(err, log.ErrCorrupt) {
		return
	}
	h.damages.Inc()
	now := time.Now().UnixNano()
	if last := h.alertedAt.Load(); now-last < int64(often) || !h.alertedAt.CompareAndSwap(last, now) {
		h.logger.WithError(err).Debug("a read found damage")
		return
	}
	h.logger.WithError(err).Error("THE DATABASE IS DAMAGED: requests that read the damaged row fail until it is " +
		"repaired; `stele check` lists all damage, if it reads the values too")
}

// suspect records that the answer to a client's request showed corruption, before the writer's next call to the
// database. Any goroutine may call it.
func (h *health) suspect(err error) {
	if errors.Is(err, log.ErrCorrupt) {
		h.corrupt.Store(true)
	}
}

// answers reports whether the database answered the last call.
func (h *health) answers() bool { return h.lostSince.IsZero() }
