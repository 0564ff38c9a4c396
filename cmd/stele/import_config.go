package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
)

// importKinds are the values of --from.
var importKinds = []string{"etcd", "kine", "stele"}

// importConfig holds the flags and environment variables of an import.
type importConfig struct {
	from, source, table string
	quiet               time.Duration
	leaseMode           string
	dryRun              bool
	// password comes from the environment.
	password, passwordFile string
	tls                    connect.TLS

	// The other flags are for a running etcd and have the names of etcdctl's flags.
	user, caCert, cert, key string
	skipTLSVerify           bool
	follow                  bool
	untilRevision           int64
	skipHashCheck           bool
}

func (c *importConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.from, "from", "", "kind of the source: kine, etcd or stele")
	fs.StringVar(&c.source, "source", "",
		"database to read, in the form of --endpoint (default for kine: --endpoint itself), URL of an etcd, or path "+
			"of a snapshot")
	fs.StringVar(&c.table, "source-table", "kine", "name of kine's table")
	fs.StringVar(&c.passwordFile, "source-password-file", "",
		"file with the password for --source (or set "+sourcePasswordVariable+")")
	fs.StringVar(&c.tls.CAFile, "source-ca-file", "",
		"CA that must have signed the certificate of --source; this and the next three flags enable TLS to it")
	fs.StringVar(&c.tls.CertFile, "source-cert-file", "", "client certificate for --source")
	fs.StringVar(&c.tls.KeyFile, "source-key-file", "", "private key of --source-cert-file")
	fs.BoolVar(&c.tls.SkipVerify, "source-skip-verify", false, "do not verify the certificate of --source")
	fs.DurationVar(&c.quiet, "source-quiet", 3*time.Second,
		"require kine's table to be unchanged this long; programs that serve a cluster write every few seconds")
	fs.StringVar(&c.leaseMode, "lease-mode", string(logstructured.LeaseModeTTL),
		"--lease-mode of the servers of the database")
	fs.StringVar(&c.user, "user", "",
		"user of a running etcd with authentication: name or name:password; the password may also be given as for a "+
			"database")
	fs.StringVar(&c.caCert, "cacert", "", "CA that must have signed the certificate of a running etcd")
	fs.StringVar(&c.cert, "cert", "", "client certificate for a running etcd")
	fs.StringVar(&c.key, "key", "", "private key of --cert")
	fs.BoolVar(&c.skipTLSVerify, "insecure-skip-tls-verify", false, "do not verify the certificate of a running etcd")
	fs.BoolVar(&c.follow, "follow", false,
		"follow the writes of a running etcd until SIGINT or SIGTERM, and end at its revision at that moment")
	fs.Int64Var(&c.untilRevision, "until-revision", 0,
		"follow the writes of a running etcd up to this revision, and end there")
	fs.BoolVar(&c.skipHashCheck, "skip-hash-check", false,
		"accept a snapshot without checksum, such as a copy of member/snap/db")
	fs.BoolVar(&c.dryRun, "dry-run", false,
		"read the source and report what would be imported, without changing anything")
}

// check validates the flags without access to the network or the disk.
func (c *importConfig) check() error {
	switch {
	case c.from == "":
		return fmt.Errorf("--from is missing: write what to import from, such as --from=%s",
			strings.Join(importKinds, " or --from="))
	case !slices.Contains(importKinds, c.from):
		return fmt.Errorf("--from: %q is not %s", c.from, strings.Join(importKinds, " or "))
	case c.quiet < 0:
		return fmt.Errorf("--source-quiet: %v is negative; 0 does not wait", c.quiet)
	case logstructured.LeaseMode(c.leaseMode).Valid() != nil:
		return fmt.Errorf("--lease-mode: %q is neither ttl nor etcd", c.leaseMode)
	case c.follow && c.untilRevision != 0:
		return errors.New("--follow and --until-revision both say when to end; set one of them")
	case c.untilRevision < 0:
		return fmt.Errorf("--until-revision: %d is no revision", c.untilRevision)
	case (c.cert == "") != (c.key == ""):
		return errors.New("--cert and --key go together; set both, or neither for no client certificate")
	case c.passwordFile != "" && c.password != "":
		return errors.New("--source-password-file and " + sourcePasswordVariable + " both give the password; set " +
			"one of them")
	case (c.tls.CertFile == "") != (c.tls.KeyFile == ""):
		return errors.New("--source-cert-file and --source-key-file go together; " +
			"set both, or neither for no client certificate")
	}
	return nil
}

// checkCopy validates the flags for a source that is copied with its leases. leaseMode reports whether --lease-mode is
// set.
func (c *importConfig) checkCopy(leaseMode bool) error {
	if c.source == "" {
		return fmt.Errorf("--source is missing: %s", map[string]string{
			"etcd":  "write the URL of a running etcd, such as http://127.0.0.1:2379, or the path of a snapshot",
			"stele": "write the database to copy, as --endpoint has it",
		}[c.from])
	}
	if leaseMode {
		return fmt.Errorf("--lease-mode: --from=%s keeps the leases as they are; leave the flag out, "+
			"and convert them afterwards by `stele lease-mode %s`", c.from, c.leaseMode)
	}
	if c.from == "stele" {
		if err := mustExist(c.source); err != nil {
			return fmt.Errorf("--source: %w", err)
		}
	}
	return nil
}

// connection reads the files of the flags.
func (c *importConfig) connection() (connect.Options, error) {
	if _, err := c.tls.Config(); err != nil {
		return connect.Options{}, fmt.Errorf("--source-ca-file, --source-cert-file, --source-key-file: %w; "+
			"name readable PEM files that belong together", err)
	}
	password, err := c.readPassword()
	return connect.Options{Password: password, TLS: c.tls}, err
}

// readPassword returns the password of the file or of the environment.
func (c *importConfig) readPassword() (string, error) {
	if c.passwordFile == "" {
		return c.password, nil
	}
	content, err := os.ReadFile(c.passwordFile)
	if err != nil {
		return "", fmt.Errorf("--source-password-file: %w; "+
			"name a readable file that holds the password and nothing else", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}
