package logstructured

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
)

// health tells people, once each time, that the database was lost and that it is back. Only the writer uses it.
type health struct {
	logger *logrus.Entry
	lost   time.Time
}

func (h *health) observe(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && h.lost.IsZero():
		h.lost = time.Now()
		h.logger.WithError(err).Error("the database does not answer; trying again until it does")
	case err == nil && !h.lost.IsZero():
		h.logger.WithField("after", time.Since(h.lost).Round(time.Millisecond)).Info("the database answers again")
		h.lost = time.Time{}
	}
}

// answers tells whether the database did when it was last asked.
func (h *health) answers() bool { return h.lost.IsZero() }
