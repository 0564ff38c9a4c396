package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Passwords have environment variables and no flags: the process list shows flags.
const (
	passwordVariable       = "STELE_DATASTORE_PASSWORD"
	sourcePasswordVariable = "STELE_SOURCE_PASSWORD"
)

// applyEnvironment sets the flags that the command line did not set from environ, whose elements have the form
// NAME=value. For a flag it reads STELE_<NAME> first and then, if kine has the flag, KINE_<NAME>. An empty variable
// counts as unset. A variable with the prefix STELE_ that no command of root reads is an error: its name is probably
// misspelled.
func applyEnvironment(root *cobra.Command, flags *pflag.FlagSet, environ []string) error {
	env := make(map[string]string, len(environ))
	for _, assignment := range environ {
		if name, value, _ := strings.Cut(assignment, "="); value != "" {
			env[name] = value
		}
	}
	if err := checkVariables(root, env); err != nil {
		return err
	}
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed {
			return
		}
		for _, name := range variables(f) {
			value, ok := env[name]
			if !ok {
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
	if marked(f, kineFlag) {
		return []string{"STELE_" + suffix, "KINE_" + suffix}
	}
	return []string{"STELE_" + suffix}
}

// foreignVariable matches variables that have the prefix by chance: Kubernetes describes the services of a namespace to
// its pods by variables such as STELE_SERVICE_HOST, for a service named stele. Stele's tests have variables too.
var foreignVariable = regexp.MustCompile(`^STELE_((\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)|TEST_\w+)$`)

// checkVariables returns an error if env sets a variable with the prefix STELE_ that no command of root reads.
func checkVariables(root *cobra.Command, env map[string]string) error {
	known := []string{passwordVariable, sourcePasswordVariable}
	for _, cmd := range append(root.Commands(), root) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, variables(f)...) })
	}
	var unknown []string
	for name := range env {
		if strings.HasPrefix(name, "STELE_") && !slices.Contains(known, name) && !foreignVariable.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("%s: no flag has this environment variable; unset it or correct its name (stele --help lists "+
		"the flags)",
		strings.Join(unknown, ", "))
}
