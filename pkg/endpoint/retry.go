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
	// The pause between two attempts doubles from the first to the last of these: a database that starts together with Stele is found at once,
	// and one that is away for an hour is not asked in vain all the time.
	firstRetry, lastRetry = 100 * time.Millisecond, 2 * time.Second
	// remindEvery is how often the log says again what is missing.
	remindEvery = 10 * time.Second
	// unknownHostTime bounds the attempts while the endpoint's hosts have no address: the resolver may start together with Stele,
	// and a misspelt name never gets one.
	unknownHostTime = time.Minute
)

// retry calls open until it succeeds, because a service manager may start Stele before its database, unless waiting cannot mend
// the error, or limit has passed; 0 is no limit. What a file lacks, nobody is about to bring.
func retry(ctx context.Context, logger *logrus.Entry, endpoint string, limit time.Duration, open func() error) error {
	var said time.Time
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
			if !said.IsZero() {
				logger.Info("the database is there")
			}
			return nil
		case ctx.Err() != nil, !drivers.Remote(endpoint), errors.Is(err, connect.ErrConfiguration),
			errors.Is(err, log.ErrCorrupt), errors.Is(err, logstructured.ErrLeaseModeMismatch), errors.Is(err, logstructured.ErrImportUnfinished):
			return err
		case time.Since(reachable) >= unknownHostTime:
			return fmt.Errorf("the host of the endpoint has had no address for %v: %w", unknownHostTime, err)
		case limit > 0 && time.Since(begin) >= limit:
			return err
		case time.Since(said) >= remindEvery:
			said = time.Now()
			logger.WithError(err).Warn("cannot open the database; trying until it is there")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
