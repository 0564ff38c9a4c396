package endpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/compactor"
	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/tls"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/transport"
)

// openTimeout is how long Listen waits for an unreachable database server, as in kine.
const openTimeout = 5 * time.Minute

// Listen serves a datastore until ctx ends. It returns how to connect as soon as the datastore is open. A process may
// call it several times, for the same database or for others. If the context of a previous call with the same Listener
// has ended, Listen waits until that call has released the address.
//
// If config.Endpoint is the address of a running datastore, Listen starts nothing and returns the address.
func Listen(ctx context.Context, config Config) (ETCDConfig, error) {
	if external, ok, err := config.external(); ok || err != nil {
		return external, err
	}
	if err := ctx.Err(); err != nil {
		return ETCDConfig{}, err
	}
	if config.Logger == nil {
		config.Logger = logrus.NewEntry(logrus.StandardLogger())
	}
	opts, err := config.options()
	if err != nil {
		return ETCDConfig{}, err
	}
	listener, err := config.listen(ctx)
	if err != nil {
		return ETCDConfig{}, err
	}
	url := listener.URL()
	if config.GRPCServer != nil && config.secure() {
		url = WithTLS(url)
	}
	opts.Server.Listeners = []*transport.Listener{listener}
	opts.Server.AdvertiseClientURLs = []string{Absolute(url)}
	datastore, err := Open(ctx, opts)
	if err != nil {
		return ETCDConfig{}, fmt.Errorf("datastore: %w", err)
	}

	gone := begin(ctx)
	if config.WaitGroup != nil {
		config.WaitGroup.Add(1)
	}
	go func() {
		if config.WaitGroup != nil {
			defer config.WaitGroup.Done()
		}
		defer gone()
		if err := datastore.Run(ctx); err != nil {
			config.Logger.WithError(err).Error("the datastore failed and has stopped serving")
			return
		}
		config.Logger.WithField("url",
			url).Info("the datastore has stopped; everything acknowledged is in the database")
	}()

	etcd := ETCDConfig{Endpoints: []string{Reachable(url)}, LeaderElect: drivers.Remote(opts.Endpoint)}
	if config.secure() {
		etcd.TLSConfig.CAFile = config.ServerTLSConfig.CAFile
	}
	return etcd, nil
}

// external reports whether Endpoint is a running datastore, and how to connect to it.
func (c *Config) external() (ETCDConfig, bool, error) {
	endpoints := strings.Split(c.Endpoint, ",")
	is := func(endpoint string) bool {
		scheme, address, _ := strings.Cut(endpoint, "://")
		return address != "" && slices.Contains([]string{"http", "https", "unix", "unixs"}, scheme)
	}
	if !is(endpoints[0]) {
		return ETCDConfig{}, false, nil
	}
	if !slices.ContainsFunc(endpoints, func(e string) bool { return !is(e) }) {
		return ETCDConfig{Endpoints: endpoints, TLSConfig: c.BackendTLSConfig, LeaderElect: true}, true, nil
	}
	return ETCDConfig{}, false, errors.New("datastore: of several endpoints, separated by commas, each must begin " +
		"with http://, https://, unix:// or unixs://")
}

// secure reports whether the datastore is served with TLS.
func (c *Config) secure() bool {
	return c.ServerTLSConfig.CertFile != "" && c.ServerTLSConfig.KeyFile != ""
}

// options translates the fields. The error names a field that is wrong.
func (c *Config) options() (Options, error) {
	switch {
	case c.CompactInterval < 0:
		return Options{}, errors.New("datastore: CompactInterval is negative; 0 turns it off")
	case c.CompactIntervalJitter < 0 || c.CompactIntervalJitter > 99:
		return Options{}, fmt.Errorf("datastore: CompactIntervalJitter is %d, and not a percentage from 0 to 99",
			c.CompactIntervalJitter)
	case c.CompactMinRetain < 0:
		return Options{}, errors.New("datastore: CompactMinRetain is negative; 0 retains only what is current")
	case c.CompactTimeout < 0 || c.PollInterval < 0 || c.NotifyInterval < 0:
		return Options{}, errors.New("datastore: CompactTimeout, PollInterval or NotifyInterval is negative; 0 is " +
			"the default")
	case (c.ServerTLSConfig.CertFile == "") != (c.ServerTLSConfig.KeyFile == ""):
		return Options{}, errors.New("datastore: ServerTLSConfig has only one of CertFile and KeyFile; set both, or " +
			"neither for plain text")
	case c.ServerTLSConfig.TrustedCAFile != "" && c.ServerTLSConfig.CertFile == "" && c.GRPCServer == nil:
		return Options{}, errors.New("datastore: ServerTLSConfig.TrustedCAFile demands client certificates, which " +
			"need TLS; set CertFile and KeyFile too")
	}
	opts := Options{
		Logger:      c.Logger,
		Endpoint:    c.Endpoint,
		OpenTimeout: openTimeout,
		Registerer:  c.MetricsRegisterer,
		Connection: connect.Options{
			TLS: connect.TLS{
				CAFile:   c.BackendTLSConfig.CAFile,
				CertFile: c.BackendTLSConfig.CertFile, KeyFile: c.BackendTLSConfig.KeyFile,
				SkipVerify: c.BackendTLSConfig.SkipVerify,
			},
			Pool: c.ConnectionPoolConfig,
		},
		Store: logstructured.Options{PollInterval: c.PollInterval, ProgressInterval: c.NotifyInterval,
			LeaseMode: c.LeaseMode},
		Server:         server.Options{GRPCServer: c.GRPCServer},
		CompactTimeout: c.CompactTimeout,
	}
	if opts.Endpoint == "sqlite://" {
		opts.Endpoint = drivers.DefaultDSN
	}
	if c.CompactInterval > 0 {
		opts.Compaction = compactor.Interval{
			Every: c.CompactInterval, Jitter: c.CompactIntervalJitter,
			Retain: logstructured.Revision(c.CompactMinRetain),
		}
	}
	return opts, nil
}

// listen binds the address, with TLS unless the gRPC server does TLS itself.
func (c *Config) listen(ctx context.Context) (*transport.Listener, error) {
	address := c.Listener
	if address == "" {
		address = KineSocket
	}
	var certs *transport.Certificates
	switch {
	case c.GRPCServer != nil:
		address = withoutTLS(address)
	case c.secure():
		var err error
		if certs, err = certificates(c.ServerTLSConfig, c.Logger); err != nil {
			return nil, fmt.Errorf("datastore: ServerTLSConfig: %w", err)
		}
		address = WithTLS(address)
	}
	listener, err := transport.Listen(ctx, address, certs)
	if errors.Is(err, syscall.EADDRINUSE) && awaitStopping(ctx) {
		listener, err = transport.Listen(ctx, address, certs)
	}
	if err != nil {
		return nil, fmt.Errorf("datastore: Listener: %w", err)
	}
	return listener, nil
}

func certificates(files tls.Config, logger *logrus.Entry) (*transport.Certificates, error) {
	return transport.LoadCertificates(transport.CertificateOptions{
		Logger: logger, CertFile: files.CertFile, KeyFile: files.KeyFile, TrustedCAFile: files.TrustedCAFile,
	})
}
