package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/logstructured"
)

const recoverHelp = `Make a database usable that was put back to an older state while no server ran, and exit: its revision jumps by so much that
none is used again that clients may have seen, and everything before counts as compacted, so that they list again.

A server that runs while the database is restored does the same by itself. The flags are etcdutl's.`

func newRecoverCommand() *cobra.Command {
	var t tool
	var bump int64
	var markCompacted bool
	return t.command(&cobra.Command{Use: "recover", Short: "Let clients go on safely after a restore", Long: recoverHelp},
		func(flags *pflag.FlagSet) {
			flags.Int64Var(&bump, "bump-revision", 0, "by how much the revision jumps: more than what was written since the backup")
			flags.BoolVar(&markCompacted, "mark-compacted", false, "count every revision before as compacted; required")
		},
		func(ctx context.Context, _ []string) error {
			if bump < 1 {
				return fmt.Errorf("--bump-revision: %d is not a positive number; write a number above that of the revisions since the backup, such as 1000000000", bump)
			}
			if !markCompacted {
				return errors.New("--mark-compacted is missing: without it watchers would go on as if nothing had been lost")
			}
			return t.recover(ctx, logstructured.Revision(bump))
		})
}

func (t *tool) recover(ctx context.Context, bump logstructured.Revision) error {
	var revision logstructured.Revision
	jump := func(s *logstructured.Store) (err error) {
		revision, err = s.Recover(ctx, bump)
		return err
	}
	err := t.withStore(ctx, logstructured.Options{}, jump)
	if errors.Is(err, logstructured.ErrLeaseModeMismatch) {
		err = t.withStore(ctx, logstructured.Options{LeaseMode: logstructured.LeaseModeEtcd}, jump)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.stdout, "%s is at revision %d, and everything before is compacted\n", t.name(), revision)
	return err
}
