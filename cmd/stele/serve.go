package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/compactor"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/endpoint"
	"github.com/stele-db/stele/pkg/memory"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/auth"
	"github.com/stele-db/stele/server/transport"
)

// serve checks the configuration, binds the addresses and opens the database, in this order. It serves until ctx ends.
func serve(ctx context.Context, cfg *config, flags *pflag.FlagSet, stdout, stderr io.Writer) error {
	logger, err := cfg.log.logger(stderr)
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
	warnRetired(flags, logger)
	connection, err := cfg.database.options(flags, logger)
	if err != nil {
		return err
	}
	tokens, err := auth.NewTokens(cfg.authToken, time.Duration(cfg.authTokenTTL)*time.Second)
	if err != nil {
		return fmt.Errorf("--auth-token: %w", err)
	}
	certs, err := cfg.certificates(logger)
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
	registry, probes := newRegistry(), server.NewProbes()
	defer limitHeap()()
	opts := cfg.datastore(logger, registry, listener, connection, schedule, tokens)
	opts.Server.Probes = probes

	group, ctx := errgroup.WithContext(ctx)
	if metrics != nil {
		logger.WithField("address", metrics.Addr()).Info("serving metrics")
		group.Go(func() error { return serveMetrics(ctx, metrics, registry, probes, cfg.metricsProfiling) })
	}
	group.Go(func() error { return cfg.run(ctx, opts, flags, stdout, logger) })
	return group.Wait()
}

// run opens the datastore and serves clients until ctx ends.
func (c *config) run(
	ctx context.Context, opts endpoint.Options, flags *pflag.FlagSet, stdout io.Writer, logger *logrus.Entry,
) error {
	restore := collectLess()
	datastore, err := endpoint.Open(ctx, opts)
	restore()
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a signal stopped it before it served
		}
		return ofEndpoint(err, opts.Store.LeaseMode)
	}
	logConfiguration(flags, logger)
	c.greet(opts.Server.Listeners[0], stdout, logger)
	context.AfterFunc(ctx, func() {
		logger.Info("stopping: finishing the requests in flight; a second signal ends at once")
	})
	if err := datastore.Run(ctx); err != nil {
		return ofLeaseMode(err, opts.Store.LeaseMode)
	}
	logger.Info("stopped; everything acknowledged is on disk")
	return nil
}

// limitHeap sets the memory limit of the Go runtime to nine tenths of the available memory, unless GOMEMLIMIT is set,
// until restore is called. Without a limit the heap grows to twice the memory in use.
func limitHeap() (restore func()) {
	available := memory.Available()
	if os.Getenv("GOMEMLIMIT") != "" || available == 0 {
		return func() {}
	}
	before := debug.SetMemoryLimit(available / 10 * 9)
	return func() { debug.SetMemoryLimit(before) }
}

// collectLess makes the garbage collector run less often, unless GOGC is set, until restore is called. Almost
// everything that building the index allocates stays in use, and marking it repeatedly takes a seventh of the start.
func collectLess() (restore func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	percent := debug.SetGCPercent(200)
	return func() { debug.SetGCPercent(percent) }
}

// datastore returns the options of the database, the store and the server.
func (c *config) datastore(
	logger *logrus.Entry, registry *prometheus.Registry, listener *transport.Listener, connection connect.Options,
	schedule compactor.Schedule, tokens auth.Tokens,
) endpoint.Options {
	cache := c.valueCacheBytes
	if cache == 0 {
		cache = -1 // none; the store's 0 is its default
	}
	streams := c.maxStreams
	if streams == 0 {
		streams = math.MaxUint32
	}
	advertised := c.advertiseClientURLs
	if len(advertised) == 0 {
		advertised = []string{endpoint.Absolute(listener.URL())}
	}
	return endpoint.Options{
		Logger:     logger,
		Endpoint:   c.database.endpoint,
		Connection: connection,
		Registerer: registry,
		Store: logstructured.Options{
			ValueCacheBytes:  cache,
			MaxIndexBytes:    c.maxIndexBytes,
			RequestTimeout:   c.requestTimeout,
			PollInterval:     c.pollInterval,
			CompactRetention: c.compactRetention,
			QuotaBytes:       c.quotaBytes,
			LeaseMode:        logstructured.LeaseMode(c.leaseMode),
			ProgressInterval: c.progressInterval,
		},
		Server: server.Options{
			Listeners:            []*transport.Listener{listener},
			Gatherer:             registry,
			Name:                 c.name,
			AdvertiseClientURLs:  advertised,
			CORSOrigins:          c.cors,
			AuthTokens:           tokens,
			BcryptCost:           c.bcryptCost,
			ClientCertAuth:       c.clientCertAuth,
			MaxRequestBytes:      c.maxRequestBytes,
			MaxTxnOps:            c.maxTxnOps,
			MaxConcurrentStreams: streams,
			KeepAliveMinTime:     cmp.Or(c.keepAliveMinTime, 5*time.Minute), // gRPC's default, as with etcd
			KeepAliveInterval:    c.keepAliveInterval,
			KeepAliveTimeout:     c.keepAliveTimeout,
		},
		Compaction:     schedule,
		CompactTimeout: c.compactTimeout,
	}
}
