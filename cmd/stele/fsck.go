package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
)

const checkHelp = `Read the whole log in the database and say what is wrong with it: gaps, revisions and versions that do not follow from
each other, leases without a grant, rows that should have been deleted. Nothing is changed, values are not read, and servers may go on
meanwhile. The exit code is 1 if anything is wrong.`

func newCheckCommand() *cobra.Command {
	var t tool
	var retention time.Duration
	flags := pflag.NewFlagSet("check", pflag.ContinueOnError)
	flags.DurationVar(&retention, "compact-retention", 5*time.Minute, "the flag with which the database is served")
	t.flags(flags)
	cmd := &cobra.Command{
		Use: "check", Short: "Look for mistakes in the database", Long: checkHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 { // which may be a DSN with a password: it is not repeated
				return errors.New("stele check takes flags only; name the database with --endpoint")
			}
			if err := t.environment(flags); err != nil {
				return err
			}
			return t.check(cmd.Context(), flags, retention, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(flags)
	return cmd
}

func (t *tool) check(ctx context.Context, flags *pflag.FlagSet, retention time.Duration, stdout, stderr io.Writer) error {
	database, _, err := t.open(ctx, flags, stderr)
	if err != nil {
		return err
	}
	result, err := logstructured.Check(ctx, database, retention, func(p logstructured.Problem) { _, _ = fmt.Fprintln(stdout, p) })
	if closed := database.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %d entries, %d keys, %d leases, revision %d, compact revision %d, problems: %d\n",
		drivers.Describe(t.database.endpoint), result.Entries, result.Keys, result.Leases, result.Revision, result.CompactRevision, result.Problems)
	if err == nil && result.Problems > 0 {
		err = fmt.Errorf("problems in the database: %d", result.Problems)
	}
	return err
}
