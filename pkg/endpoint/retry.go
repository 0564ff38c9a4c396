package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

const (
	// The pause between two attempts doubles from firstRetry to lastRetry: Stele soon connects to a database that
	// starts at the same time, and an outage of an hour costs little.
	firstRetry, lastRetry = 100 * time.Millisecond, 2 * time.Second
	// remindEvery is how often the log repeats the reason.
	remindEvery = 10 * time.Second
	// unknownHostTime bounds the attempts while the hosts of the endpoint have no address: the resolver may start at
	// the same time as Stele, and a misspelt name never gets one.
	unknownHostTime = time.Minute
)

// retry calls open until it succeeds, because a service manager may start Stele before its database. It returns the
// error if retrying cannot fix it, if the database is a file, or if limit has passed; 0 is no limit.
func retry(ctx context.Context, logger *logrus.Entry, endpoint string, limit time.Duration, open func() error) error {
	var warned time.Time
	begin := time.Now()
	reachable := begin // when a host last had an address
	logger = logger.WithField("data", drivers.Describe(endpoint))
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		slow := time.AfterFunc(remindEvery, func() { logger.Warn("still opening the database") })
		err := open()
		slow.Stop()
		if !connect.UnknownHost(err) {
			reachable = time.Now()
		}
		switch {
		case err == nil:
			if !warned.IsZero() {
				logger.WithField("after", time.Since(begin).Round(time.Millisecond)).Info("opened the database")
			}
			return nil
		case ctx.Err() != nil, !drivers.Remote(endpoint), errors.Is(err, connect.ErrConfiguration),
			errors.Is(err, log.ErrCorrupt), errors.Is(err, logstructured.ErrLeaseModeMismatch), errors.Is(err,
				logstructured.ErrImportUnfinished):
			return err
		case time.Since(reachable) >= unknownHostTime:
			return fmt.Errorf("%w; the host of the endpoint has had no address for %v", err, unknownHostTime)
		case limit > 0 && time.Since(begin) >= limit:
			return err
		case time.Since(warned) >= remindEvery:
			warned = time.Now()
			logger.WithError(err).Warn("cannot open the database; retrying until it succeeds")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
