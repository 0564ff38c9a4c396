package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// applyEnvironment sets the flags that the command line left alone from the environment: STELE_<NAME> first, then, for the flags
// that kine has, KINE_<NAME>. An empty variable counts as unset.
func applyEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed {
			return
		}
		for _, name := range variables(f) {
			value, _ := lookup(name)
			if value == "" {
				continue
			}
			if flags.Set(f.Name, value) != nil {
				err = invalidValue(name, f, value)
			}
			return
		}
	})
	return err
}

// variables names the environment variables of a flag, in order of precedence.
func variables(f *pflag.Flag) []string {
	suffix := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	if isKine(f.Name) {
		return []string{"STELE_" + suffix, "KINE_" + suffix}
	}
	return []string{"STELE_" + suffix}
}
