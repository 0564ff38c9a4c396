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
)

// Options are everything that can be said about a [Datastore].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Endpoint is the database's DSN, as drivers.Open has it; empty is drivers.DefaultDSN.
	Endpoint string
	// Connection is what a database server needs beyond the DSN. MaxValueBytes is derived from the server's limits.
	// What the pool says in negative numbers counts as not said.
	Connection connect.Options
	// OpenTimeout ends the attempts to reach a database server that is not there yet; 0 is never, except that an
	// unknown host ends them after a minute. A file is tried once.
	OpenTimeout time.Duration
	// Registerer receives all metrics until Run has returned; nil registers none. A name that is taken there is left
	// out, with a warning.
	Registerer prometheus.Registerer

	// Store and Server configure the two; their Logger and Registerer are those above. Server.Listeners is required. A
	// Store.MaxIndexBytes of 0 is derived from the memory of the process; a negative one is no limit.
	Store  logstructured.Options
	Server server.Options

	// Compaction says when to compact the history without being asked; nil is never.
	Compaction compactor.Schedule
	// CompactTimeout ends one of these compactions; 0 is 5 s.
	CompactTimeout time.Duration
}

// Datastore is an open database with a server on it.
type Datastore struct {
	log       *logrus.Entry
	metrics   *registrations
	store     *logstructured.Store
	server    *server.Server
	compactor *compactor.Compactor
}

// Open opens the database, builds the index, and prepares the server. It waits for a database server that is not there
// yet, and returns at once what waiting does not fix (errors.Is connect.ErrConfiguration, log.ErrCorrupt). Clients are
// answered from the beginning, with Unavailable until Run. Open closes the listeners if it fails.
func Open(ctx context.Context, opts Options) (*Datastore, error) {
	if opts.Logger == nil {
		return nil, errors.Join(errors.New("endpoint: Options.Logger is required"), closeAll(opts.Server.Listeners))
	}
	limit := opts.Server.MaxRequestBytes
	if limit == 0 {
		limit = server.DefaultMaxRequestBytes
	}
	opts.Connection.MaxValueBytes = limit
	opts.Connection.Pool = asked(opts.Connection.Pool)

	// The driver's own bound is far below what is reserved by default.
	if opts.Server.ReservedDescriptors == 0 && opts.Connection.Pool.MaxOpen > 0 {
		opts.Server.ReservedDescriptors = server.DefaultReservedDescriptors + opts.Connection.Pool.MaxOpen
	}
	opts.Server.Logger = opts.Logger
	if opts.Server.Probes == nil {
		opts.Server.Probes = server.NewProbes()
	}
	starting, err := server.Start(opts.Server)
	if err != nil {
		return nil, errors.Join(err, closeAll(opts.Server.Listeners))
	}
	d := &Datastore{log: opts.Logger}
	if err := d.open(ctx, opts, starting); err != nil {
		starting.Close()
		return nil, err
	}
	d.compactor = &compactor.Compactor{Store: d.store, Logger: opts.Logger, Schedule: opts.Compaction,
		Timeout: opts.CompactTimeout}
	return d, nil
}

// open opens the store and prepares the server, while starting answers clients.
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

func closeAll(listeners []*server.Listener) (err error) {
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// openStore is one attempt.
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

// Run serves until ctx ends or something fails. The server stops first, so that requests in flight still find a store;
// the store stops when the last of them is answered. Everything has stopped when it returns. It is called once.
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

// asked leaves out what kine means by negative numbers, no limit or none at all: the database has a limit, and the
// driver knows it.
func asked(p connect.Pool) connect.Pool {
	return connect.Pool{
		MaxOpen: max(p.MaxOpen, 0), MaxIdle: max(p.MaxIdle, 0),
		MaxLifetime: max(p.MaxLifetime, 0), MaxIdleTime: max(p.MaxIdleTime, 0),
	}
}
