package main

import (
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// retiredFlag is a flag that is accepted, so that a command line written for kine or etcd goes on working, and has no
// effect. Its value is neither read nor logged: some of kine's are credentials.
type retiredFlag struct {
	name    string
	boolean bool
	// etcd marks the flags that come from etcd and not from kine.
	etcd bool
	// why completes the sentence "--name has no effect: ...".
	why string
}

var retired = []retiredFlag{
	{name: "slow-sql-threshold", why: slowSQL},
	{name: "slow-sql-warning-threshold", why: slowSQL},
	{name: "emulated-etcd-version", why: "Stele reports the etcd version whose API it serves"},
	{name: "compact-batch-size", why: "rows are deleted in batches that the database driver sizes"},
	{name: "poll-batch-size", why: "entries are read in batches bounded by bytes"},
	{name: "peer-bind-address", why: t4},
	{name: "peer-advertise-address", why: t4},
	{name: "s3-bucket", why: t4},
	{name: "s3-folder", why: t4},
	{name: "s3-endpoint", why: t4},
	{name: "s3-region", why: t4},
	{name: "s3-access-key", why: t4},
	{name: "s3-secret-key", why: t4},
	{name: "s3-session-token", why: t4},
	{name: "s3-profile", why: t4},
	{name: "s3-ca-bundle", why: t4},
}

const (
	slowSQL = "statements are not logged"
	t4      = "it belongs to kine's t4 driver, which Stele does not have"
)

// warnRetired names each flag that was set and does nothing.
func warnRetired(flags *pflag.FlagSet, log *logrus.Entry) {
	for _, r := range retired {
		if flags.Changed(r.name) {
			log.Warnf("--%s has no effect: %s", r.name, r.why)
		}
	}
}
