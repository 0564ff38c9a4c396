package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/compactor"
)

// serve checks the configuration, binds the addresses, opens the database, in this order, and serves until ctx ends.
func serve(ctx context.Context, cfg *config, flags *pflag.FlagSet, stdout, stderr io.Writer) error {
	log, err := cfg.log.logger(stderr)
	if err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	schedule, err := cfg.schedule()
	if err != nil {
		return err
	}
	warnRetired(flags, log)
	connection, err := cfg.database.options(flags, log)
	if err != nil {
		return err
	}
	connection.MaxValueBytes = cfg.maxRequestBytes

	certs, err := cfg.certificates(log)
	if err != nil {
		return err
	}
	listener, err := cfg.listen(ctx, certs)
	if err != nil {
		return err
	}
	metrics, err := cfg.listenMetrics(ctx)
	if err != nil {
		_ = listener.Close()
		return err
	}
	r := &running{log: log, listener: listener, metrics: metrics}
	if err := r.open(ctx, cfg, connection); err != nil {
		_ = listener.Close()
		if metrics != nil {
			_ = metrics.Close()
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopped by a signal before there was anything to stop
		}
		return err
	}
	r.compactor = &compactor.Compactor{Store: r.store, Logger: log, Schedule: schedule, Timeout: cfg.compactTimeout}
	cfg.greet(listener, stdout, log)
	return r.run(ctx)
}

// running is what serves.
type running struct {
	log       *logrus.Entry
	registry  *prometheus.Registry
	listener  *server.Listener
	metrics   net.Listener
	store     *logstructured.Store
	server    *server.Server
	compactor *compactor.Compactor
}

// open opens the database, the store on it and the server on that.
func (r *running) open(ctx context.Context, cfg *config, connection connect.Options) error {
	err := retry(ctx, r.log, cfg.database.endpoint, func() error { return r.openStore(ctx, cfg, connection) })
	if err != nil {
		return err
	}
	r.server, err = server.New(r.store, server.Options{
		Logger:              r.log,
		Listeners:           []*server.Listener{r.listener},
		Registerer:          r.registry,
		Gatherer:            r.registry,
		Name:                cfg.name,
		AdvertiseClientURLs: cfg.advertiseClientURLs,
		MaxRequestBytes:     cfg.maxRequestBytes,
		MaxTxnOps:           cfg.maxTxnOps,
	})
	return err
}

// openStore is one attempt.
func (r *running) openStore(ctx context.Context, cfg *config, connection connect.Options) error {
	database, err := drivers.Open(ctx, cfg.database.endpoint, drivers.Options{Logger: r.log, Options: connection})
	if err != nil {
		return fmt.Errorf("--endpoint: %w", err)
	}
	cache := cfg.valueCacheBytes
	if cache == 0 {
		cache = -1 // none; the store's 0 is its default
	}
	r.registry = newRegistry() // the store registers its metrics before it reads
	r.store, err = logstructured.Open(ctx, database, logstructured.Options{
		Logger:           r.log,
		Registerer:       r.registry,
		ValueCacheBytes:  cache,
		RequestTimeout:   cfg.requestTimeout,
		PollInterval:     cfg.pollInterval,
		CompactRetention: cfg.compactRetention,
		ProgressInterval: cfg.progressInterval,
	})
	if err != nil {
		return fmt.Errorf("--endpoint: cannot read %s: %w", drivers.Describe(cfg.database.endpoint), err)
	}
	return nil
}

// run serves until ctx ends or something fails. The server stops first, so that requests in flight still find a store; the store
// stops when the last of them is answered.
func (r *running) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return r.store.Run(storeCtx) })
	group.Go(func() error {
		defer stopStore()
		return r.server.Run(ctx)
	})
	group.Go(func() error { return r.compactor.Run(ctx) })
	if r.metrics != nil {
		r.log.WithField("address", r.metrics.Addr()).Info("serving metrics")
		group.Go(func() error { return serveMetrics(ctx, r.metrics, r.registry) })
	}
	context.AfterFunc(ctx, func() { r.log.Info("stopping: finishing the requests in flight; a second signal ends at once") })
	if err := group.Wait(); err != nil {
		return err
	}
	r.log.Info("stopped; everything acknowledged is on disk")
	return nil
}
