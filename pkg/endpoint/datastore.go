package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/compactor"
	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/transport"
)

// Options configure a [Datastore].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Endpoint is the database's DSN, as drivers.Open has it; empty is drivers.DefaultDSN.
	Endpoint string
	// Connection has the options of a database server that are not in the DSN. Open derives MaxValueBytes from the
	// limits of the server, and treats negative values of the pool as unset.
	Connection connect.Options
	// OpenTimeout bounds the attempts to reach a database server; 0 is no limit, except that an unknown host ends them
	// after a minute. A file gets one attempt.
	OpenTimeout time.Duration
	// Registerer receives all metrics until Run has returned; nil registers none. A metric whose name is taken is left
	// out, with a warning.
	Registerer prometheus.Registerer

	// Store and Server configure store and server; Open sets their Logger and Registerer. Server.Listeners is required.
	// A Store.MaxIndexBytes of 0 is derived from the memory of the process; a negative one is no limit.
	Store  logstructured.Options
	Server server.Options

	// Compaction is the schedule of compactions; nil leaves compaction to clients.
	Compaction compactor.Schedule
	// CompactTimeout ends one of these compactions; 0 is 5 s.
	CompactTimeout time.Duration
}

// Datastore is an open database with a server on it.
type Datastore struct {
	metrics   *registrations
	store     *logstructured.Store
	server    *server.Server
	compactor *compactor.Compactor
}

// Open opens the database, builds the index and prepares the server. It waits for an unreachable database server, and
// immediately returns errors that retrying cannot fix (errors.Is connect.ErrConfiguration, log.ErrCorrupt). Until Run
// is called, clients get Unavailable. Open closes the listeners if it fails.
func Open(ctx context.Context, opts Options) (*Datastore, error) {
	if opts.Logger == nil {
		return nil, errors.Join(errors.New("endpoint: Options.Logger is required"), closeAll(opts.Server.Listeners))
	}
	limit := opts.Server.MaxRequestBytes
	if limit == 0 {
		limit = server.DefaultMaxRequestBytes
	}
	opts.Connection.MaxValueBytes = limit
	opts.Connection.Pool = normalizePool(opts.Connection.Pool)

	// Only a configured pool needs further descriptors: the default pool of a driver is far smaller than the number of
	// descriptors reserved by default.
	if opts.Server.ReservedDescriptors == 0 && opts.Connection.Pool.MaxOpen > 0 {
		opts.Server.ReservedDescriptors = transport.DefaultReservedDescriptors + opts.Connection.Pool.MaxOpen
	}
	opts.Server.Logger = opts.Logger
	if opts.Server.Probes == nil {
		opts.Server.Probes = server.NewProbes()
	}
	starting, err := server.Start(opts.Server)
	if err != nil {
		return nil, errors.Join(err, closeAll(opts.Server.Listeners))
	}
	d := &Datastore{}
	if err := d.open(ctx, opts, starting); err != nil {
		starting.Close()
		return nil, err
	}
	d.compactor = &compactor.Compactor{Store: d.store, Logger: opts.Logger, Schedule: opts.Compaction,
		Timeout: opts.CompactTimeout}
	return d, nil
}

// open opens the store and prepares the server. Meanwhile starting answers clients.
func (d *Datastore) open(ctx context.Context, opts Options, starting *server.Starting) error {
	probes := opts.Server.Probes
	opts.Store.Loading = func(read, end log.Position) {
		probes.Report(fmt.Sprintf("the index is being built: %d of about %d entries", read, end))
	}
	err := retry(ctx, opts.Logger, opts.Endpoint, opts.OpenTimeout, func() error {
		err := d.openStore(ctx, opts)
		if err != nil {
			probes.Report("the database cannot be opened, trying again; the server's log has the reason")
		}
		return err
	})
	if err != nil {
		return err
	}
	if d.server, err = starting.Server(d.store, d.metrics.registerer()); err != nil {
		return errors.Join(err, d.closeStore())
	}
	return nil
}

func closeAll(listeners []*transport.Listener) (err error) {
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// openStore makes one attempt to open the store.
func (d *Datastore) openStore(ctx context.Context, opts Options) (err error) {
	database, err := drivers.Open(ctx, opts.Endpoint, drivers.Options{Logger: opts.Logger, Options: opts.Connection})
	if err != nil {
		return err
	}
	d.metrics = newRegistrations(opts.Registerer, opts.Logger)
	opts.Store.Logger, opts.Store.Registerer = opts.Logger, d.metrics.registerer()
	if d.store, err = logstructured.Open(ctx, database, withIndexLimit(opts.Store)); err != nil {
		d.metrics.undo()
		return fmt.Errorf("%w, reading %s", err, drivers.Describe(opts.Endpoint))
	}
	return nil
}

// closeStore closes a store that never ran.
func (d *Datastore) closeStore() error {
	defer d.metrics.undo()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return d.store.Run(ctx)
}

// Run serves until ctx ends or an error occurs. The server stops first and answers the requests in flight; then the
// store stops. When Run returns, everything has stopped. It is called once.
func (d *Datastore) Run(ctx context.Context) error {
	defer d.metrics.undo()
	group, ctx := errgroup.WithContext(ctx)
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return d.store.Run(storeCtx) })
	group.Go(func() error {
		defer stopStore()
		return d.server.Run(ctx)
	})
	group.Go(func() error { return d.compactor.Run(ctx) })
	return group.Wait()
}

// normalizePool treats negative values, kine's "no limit" or "none", as unset: the driver knows the limit of the
// database.
func normalizePool(p connect.Pool) connect.Pool {
	return connect.Pool{
		MaxOpen: max(p.MaxOpen, 0), MaxIdle: max(p.MaxIdle, 0),
		MaxLifetime: max(p.MaxLifetime, 0), MaxIdleTime: max(p.MaxIdleTime, 0),
	}
}
