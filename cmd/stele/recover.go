package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/logstructured"
)

const recoverHelp = `Bump the revision of a database that was restored from a backup while no server ran, and exit.
The new revision is above every revision that clients may have seen, and all earlier revisions are compacted, so that
clients list again.

A server that runs while the database is restored does this itself. The flags are those of etcdutl.`

func newRecoverCommand() *cobra.Command {
	var t tool
	var bump int64
	var markCompacted bool
	return t.command(&cobra.Command{Use: "recover", Short: "Bump the revision after restoring a backup",
		Long: recoverHelp},
		func(flags *pflag.FlagSet) {
			flags.Int64Var(&bump, "bump-revision", 0,
				"add this to the revision: more than the number of revisions since the backup")
			flags.BoolVar(&markCompacted, "mark-compacted", false, "compact all earlier revisions; required")
		},
		func(ctx context.Context, _ []string) error {
			if bump < 1 {
				return fmt.Errorf("--bump-revision: %d is not a positive number; "+
					"write a number greater than the number of revisions since the backup, such as 1000000000", bump)
			}
			if !markCompacted {
				return errors.New("--mark-compacted is missing: without it watchers would continue and miss the " +
					"lost revisions")
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
