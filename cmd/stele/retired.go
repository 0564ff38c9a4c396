package main

import (
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// retired are the flags of kine that have no effect, with the reason, which completes "--name has no effect: ...". They
// are accepted so that a command line for kine keeps working. Their values are neither read nor logged: some are
// credentials.
var retired = []struct{ name, reason string }{
	{"slow-sql-threshold", slowSQL},
	{"slow-sql-warning-threshold", slowSQL},
	{"emulated-etcd-version", "Stele reports the etcd version whose API it serves"},
	{"compact-batch-size", "rows are deleted in batches that the database driver sizes"},
	{"poll-batch-size", "entries are read in batches bounded by bytes"},
	{"peer-bind-address", t4},
	{"peer-advertise-address", t4},
	{"s3-bucket", t4},
	{"s3-folder", t4},
	{"s3-endpoint", t4},
	{"s3-region", t4},
	{"s3-access-key", t4},
	{"s3-secret-key", t4},
	{"s3-session-token", t4},
	{"s3-profile", t4},
	{"s3-ca-bundle", t4},
}

const (
	slowSQL = "statements are not logged"
	t4      = "it belongs to kine's t4 driver, which Stele does not have"
)

// retiredFlags declares the flags that have no effect.
func retiredFlags(fs *pflag.FlagSet) {
	for _, r := range retired {
		fs.String(r.name, "", r.reason)
		mark(fs, kineFlag, r.name)
		// The flag is declared, so that neither call can fail.
		_ = fs.SetAnnotation(r.name, retiredFlag, []string{r.reason})
		_ = fs.MarkHidden(r.name)
	}
}

// warnRetired logs a warning for each flag that is set and has no effect.
func warnRetired(flags *pflag.FlagSet, logger *logrus.Entry) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed && marked(f, retiredFlag) {
			logger.Warnf("--%s has no effect: %s", f.Name, f.Annotations[retiredFlag][0])
		}
	})
}
