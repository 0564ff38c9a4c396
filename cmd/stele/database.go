package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
)

// databaseConfig holds the flags and environment variables of the database connection.
type databaseConfig struct {
	endpoint string
	// password comes from the environment: the process list would show a flag.
	password     string
	passwordFile string
	tls          connect.TLS
	pool         connect.Pool
	// besideKine allows the creation of a log in a database that holds kine's table.
	besideKine bool
}

// flags declares the flags of serving.
func (c *databaseConfig) flags(fs *pflag.FlagSet) {
	c.connectionFlags(fs)
	fs.IntVar(&c.pool.MaxOpen, "datastore-max-open-connections", 0,
		"maximum number of database connections; 0 is the driver's default")
	fs.IntVar(&c.pool.MaxIdle, "datastore-max-idle-connections", 0,
		"maximum number of idle database connections; 0 is the driver's default")
	fs.DurationVar(&c.pool.MaxLifetime, "datastore-connection-max-lifetime", 0,
		"replace connections of this age; 0 is the driver's default")
	fs.DurationVar(&c.pool.MaxIdleTime, "datastore-connection-max-idle-time", 0,
		"close connections that are idle for this long; 0 is the driver's default")
	for _, annotation := range []string{kineFlag, remoteFlag} {
		mark(fs, annotation, "datastore-max-open-connections", "datastore-max-idle-connections",
			"datastore-connection-max-lifetime", "datastore-connection-max-idle-time")
	}
}

// connectionFlags declares the flags that a single connection needs too.
func (c *databaseConfig) connectionFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.endpoint, "endpoint", "",
		"database: sqlite://PATH, postgres://..., mysql://... (default: "+drivers.DefaultDSN+")")
	fs.StringVar(&c.passwordFile, "datastore-password-file", "",
		"file with the database password, read again for each connection; replaces the password of --endpoint (or set "+
			passwordVariable+")")
	fs.StringVar(&c.tls.CAFile, "ca-file", "",
		"CA that must have signed the certificate of the database; this and the next three flags enable TLS to the "+
			"database")
	fs.StringVar(&c.tls.CertFile, "cert-file", "", "client certificate for the database")
	fs.StringVar(&c.tls.KeyFile, "key-file", "", "private key of --cert-file")
	fs.BoolVar(&c.tls.SkipVerify, "skip-verify", false, "do not verify the certificate of the database")
	mark(fs, kineFlag, "endpoint", "ca-file", "cert-file", "key-file", "skip-verify")
	mark(fs, remoteFlag, "datastore-password-file", "ca-file", "cert-file", "key-file", "skip-verify")
}

// clientPortHints name the flag of the client port for flags of the database that have the name of a flag of etcd.
var clientPortHints = map[string]string{
	"cert-file": "; --server-cert-file is the certificate of the client port",
	"key-file":  "; --server-key-file is the private key of the client port",
	"ca-file":   "; --trusted-ca-file is the CA of the clients' certificates",
}

// check validates the flags without reading a file.
func (c *databaseConfig) check() error {
	switch {
	case c.tls.CertFile != "" && c.tls.KeyFile == "":
		return errors.New("--cert-file is set and --key-file is not; set both, or neither for no client certificate " +
			"to the database (--server-cert-file is the certificate of the client port)")
	case c.tls.KeyFile != "" && c.tls.CertFile == "":
		return errors.New("--key-file is set and --cert-file is not; set both, or neither for no client certificate " +
			"to the database (--server-cert-file is the certificate of the client port)")
	case c.passwordFile != "" && c.password != "":
		return errors.New("--datastore-password-file and " + passwordVariable + " both give the password; set one " +
			"of them")
	}
	return nil
}

// options reads the files. For an SQLite file it reads none, and logs a warning for each flag without effect.
func (c *databaseConfig) options(flags *pflag.FlagSet, logger *logrus.Entry) (connect.Options, error) {
	if !drivers.Remote(c.endpoint) {
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Changed && marked(f, remoteFlag) {
				logger.Warnf("--%s has no effect: an SQLite file is not reached over a network%s", f.Name,
					clientPortHints[f.Name])
			}
		})
		if c.password != "" {
			logger.Warn(passwordVariable + " has no effect: an SQLite file has no password")
		}
		return connect.Options{BesideKine: c.besideKine}, nil
	}
	if _, err := c.tls.Config(); err != nil {
		return connect.Options{}, fmt.Errorf("--ca-file, --cert-file, --key-file: %w; "+
			"name readable PEM files that belong together", err)
	}
	opts := connect.Options{
		Password: c.password, PasswordFile: c.passwordFile, TLS: c.tls, Pool: c.pool, BesideKine: c.besideKine,
	}
	if _, err := opts.ReadPassword(); err != nil {
		return connect.Options{}, fmt.Errorf("--datastore-password-file: %w; "+
			"name a readable file that holds the password and nothing else", err)
	}
	return opts, nil
}

// ofEndpoint names the flags that fix an error of opening the database as a store in a lease mode.
func ofEndpoint(err error, mode logstructured.LeaseMode) error {
	if errors.Is(err, connect.ErrKine) {
		return fmt.Errorf("--endpoint: %w: to take over its data stop kine and run `stele import --from=kine` with "+
			"the same --endpoint; to begin with nothing beside it, start with --beside-kine", err)
	}
	return fmt.Errorf("--endpoint: %w", ofLeaseMode(err, mode))
}

// ofLeaseMode adds to ErrLeaseModeMismatch the two ways to fix it. mode is the mode of the store; empty is ttl.
func ofLeaseMode(err error, mode logstructured.LeaseMode) error {
	if !errors.Is(err, logstructured.ErrLeaseModeMismatch) {
		return err
	}
	recorded, mode := logstructured.LeaseModeTTL, cmp.Or(mode, logstructured.LeaseModeTTL)
	if mode == recorded {
		recorded = logstructured.LeaseModeEtcd
	}
	return fmt.Errorf("%w: start it with --lease-mode=%s, or stop all servers and run `stele lease-mode %s`", err,
		recorded, mode)
}

// mustExist returns an error if endpoint is a file that does not exist. Opening it would create it.
func mustExist(endpoint string) error {
	path, err := drivers.File(endpoint)
	if err != nil || path == "" {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w; name the database that is served", err)
	}
	return nil
}
