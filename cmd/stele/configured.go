package main

import (
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/pkg/version"
)

// logConfiguration logs the version and the flags that the command line or the environment set.
func logConfiguration(flags *pflag.FlagSet, logger *logrus.Entry) {
	logger.WithFields(logrus.Fields{
		"version": version.Version, "commit": version.GitCommit, "etcd-version": version.Etcd,
		"flags": configured(flags),
	}).Info("started")
}

// configured returns the flags that are set, in the order of the help text. It omits user, password and options of the
// endpoint, and the values of flags without effect, since some of kine's are credentials.
func configured(flags *pflag.FlagSet) string {
	var set []string
	flags.VisitAll(func(f *pflag.Flag) {
		value := f.Value.String()
		switch {
		case !f.Changed:
			return
		case marked(f, retiredFlag):
			value = "..."
		case f.Name == "endpoint":
			value = drivers.Describe(value)
		}
		set = append(set, "--"+f.Name+"="+value)
	})
	return strings.Join(set, " ")
}
