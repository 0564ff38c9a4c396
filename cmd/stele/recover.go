package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
)

const recoverHelp = `Make a database usable that was put back to an older state while no server ran, and exit: its revision jumps by so much that
none is used again that clients may have seen, and everything before counts as compacted, so that they list again.

A server that runs while the database is restored does the same by itself. The flags are etcdutl's.`

func newRecoverCommand() *cobra.Command {
	var t tool
	var bump int64
	var markCompacted bool
	flags := pflag.NewFlagSet("recover", pflag.ContinueOnError)
	flags.Int64Var(&bump, "bump-revision", 0, "by how much the revision jumps: more than what was written since the backup")
	flags.BoolVar(&markCompacted, "mark-compacted", false, "count every revision before as compacted; required")
	t.flags(flags)
	cmd := &cobra.Command{
		Use: "recover", Short: "Let clients go on safely after a restore", Long: recoverHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 { // which may be a DSN with a password: it is not repeated
				return errors.New("stele recover takes flags only; name the database with --endpoint")
			}
			if err := t.environment(flags); err != nil {
				return err
			}
			if bump < 1 {
				return fmt.Errorf("--bump-revision: %d is not a positive number; write more than what can have been written since the backup, such as 1000000000", bump)
			}
			if !markCompacted {
				return errors.New("--mark-compacted is missing: without it watchers would go on as if nothing had been lost")
			}
			return t.recover(cmd.Context(), logstructured.Revision(bump), flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(flags)
	return cmd
}

func (t *tool) recover(ctx context.Context, bump logstructured.Revision, flags *pflag.FlagSet, stdout, stderr io.Writer) error {
	var revision logstructured.Revision
	jump := func(s *logstructured.Store) (err error) {
		revision, err = s.Recover(ctx, bump)
		return err
	}
	err := t.withStore(ctx, flags, logstructured.Options{}, stderr, jump)
	if errors.Is(err, logstructured.ErrLeaseModeMismatch) {
		err = t.withStore(ctx, flags, logstructured.Options{LeaseMode: logstructured.LeaseModeEtcd}, stderr, jump)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s is at revision %d, and everything before is compacted\n", drivers.Describe(t.database.endpoint), revision)
	return err
}
