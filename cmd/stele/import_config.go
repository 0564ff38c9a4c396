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

// importConfig is what the flags say about an import.
type importConfig struct {
	from, source, table string
	quiet               time.Duration
	leaseMode           string
	dryRun              bool
	// password is that of the environment.
	password, passwordFile string
	tls                    connect.TLS

	// The rest is for a running etcd, and named as etcdctl names it.
	user, caCert, cert, key string
	skipTLSVerify           bool
	follow                  bool
	untilRevision           int64
	skipHashCheck           bool
}

func (c *importConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.from, "from", "", "what the source is: kine, etcd or stele")
	fs.StringVar(&c.source, "source", "", "database to read, as --endpoint has it (kine's default: that of --endpoint itself), or an etcd's URL, or the path of a snapshot of its")
	fs.StringVar(&c.table, "source-table", "kine", "name of kine's table")
	fs.StringVar(&c.passwordFile, "source-password-file", "", "file with the password for --source; or set "+sourcePasswordVariable)
	fs.StringVar(&c.tls.CAFile, "source-ca-file", "", "CA that the certificate of --source must be signed by; this and the next three turn TLS to it on")
	fs.StringVar(&c.tls.CertFile, "source-cert-file", "", "client certificate for --source")
	fs.StringVar(&c.tls.KeyFile, "source-key-file", "", "private key of --source-cert-file")
	fs.BoolVar(&c.tls.SkipVerify, "source-skip-verify", false, "do not verify the certificate of --source")
	fs.DurationVar(&c.quiet, "source-quiet", 3*time.Second, "how long nothing may have been written to kine's table: what serves a cluster writes every few seconds")
	fs.StringVar(&c.leaseMode, "lease-mode", "ttl", "the --lease-mode with which the database will be served")
	fs.StringVar(&c.user, "user", "", "user of a running etcd that asks for one: name or name:password; or the password as for a database")
	fs.StringVar(&c.caCert, "cacert", "", "CA that the certificate of a running etcd must be signed by")
	fs.StringVar(&c.cert, "cert", "", "client certificate for a running etcd")
	fs.StringVar(&c.key, "key", "", "private key of --cert")
	fs.BoolVar(&c.skipTLSVerify, "insecure-skip-tls-verify", false, "do not verify the certificate of a running etcd")
	fs.BoolVar(&c.follow, "follow", false, "go on with what a running etcd writes until SIGINT or SIGTERM, and end where it then is")
	fs.Int64Var(&c.untilRevision, "until-revision", 0, "go on with what a running etcd writes up to this revision, and end with it")
	fs.BoolVar(&c.skipHashCheck, "skip-hash-check", false, "take a snapshot without checksum, such as a copy of member/snap/db")
	fs.BoolVar(&c.dryRun, "dry-run", false, "read the source and say what would be imported, and change nothing")
}

// check looks at what can be judged without the network or the disk.
func (c *importConfig) check() error {
	switch {
	case c.from == "":
		return fmt.Errorf("--from is missing: write what to import from, such as --from=%s", strings.Join(importKinds, " or --from="))
	case !slices.Contains(importKinds, c.from):
		return fmt.Errorf("--from: %q is not %s", c.from, strings.Join(importKinds, " or "))
	case c.quiet < 0:
		return fmt.Errorf("--source-quiet: %v is negative; 0 does not wait", c.quiet)
	case logstructured.LeaseMode(c.leaseMode).Valid() != nil:
		return fmt.Errorf("--lease-mode: %q is neither ttl nor etcd", c.leaseMode)
	case c.follow && c.untilRevision != 0:
		return errors.New("--follow and --until-revision are two ways to say when to end; set one of them")
	case c.untilRevision < 0:
		return fmt.Errorf("--until-revision: %d is no revision", c.untilRevision)
	case (c.cert == "") != (c.key == ""):
		return errors.New("--cert and --key go together; set both, or neither for no client certificate")
	case c.passwordFile != "" && c.password != "":
		return errors.New("--source-password-file and " + sourcePasswordVariable + " are two ways to give the password; set one of them")
	case (c.tls.CertFile == "") != (c.tls.KeyFile == ""):
		return errors.New("--source-cert-file and --source-key-file go together; set both, or neither for no client certificate")
	}
	return nil
}

// checkCopy validates the flags for a source that is copied with its leases. leaseMode reports whether --lease-mode is set.
func (c *importConfig) checkCopy(leaseMode bool) error {
	if c.source == "" {
		return fmt.Errorf("--source is missing: %s", map[string]string{
			"etcd":  "write the URL of a running etcd, such as http://127.0.0.1:2379, or the path of a snapshot",
			"stele": "write the database to copy, as --endpoint has it",
		}[c.from])
	}
	if leaseMode {
		return fmt.Errorf("--lease-mode: --from=%s keeps the leases as they are; leave the flag out, and convert them afterwards by `stele lease-mode %s`", c.from, c.leaseMode)
	}
	if c.from == "stele" {
		if err := mustExist(c.source); err != nil {
			return fmt.Errorf("--source: %w", err)
		}
	}
	return nil
}

// connection reads the files.
func (c *importConfig) connection() (connect.Options, error) {
	if _, err := c.tls.Config(); err != nil {
		return connect.Options{}, fmt.Errorf("--source-ca-file, --source-cert-file, --source-key-file: %w; name readable PEM files that belong together", err)
	}
	password, err := c.readPassword()
	return connect.Options{Password: password, TLS: c.tls}, err
}

// readPassword returns that of the file, or of the environment.
func (c *importConfig) readPassword() (string, error) {
	if c.passwordFile == "" {
		return c.password, nil
	}
	content, err := os.ReadFile(c.passwordFile)
	if err != nil {
		return "", fmt.Errorf("--source-password-file: %w; name a readable file that holds the password and nothing else", err)
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}
