package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
)

const checkHelp = `Read the whole log in the database and report inconsistencies: rows that do not match their
checksums, gaps, revisions and versions out of sequence, leases without a grant, rows that should have been deleted.
The command changes nothing, and servers may keep running. It reads values only with --values. The exit code is 1 if
there are problems.`

func newCheckCommand() *cobra.Command {
	var t tool
	var opts logstructured.CheckOptions
	return t.command(&cobra.Command{Use: "check", Short: "Check the log for inconsistencies", Long: checkHelp},
		func(flags *pflag.FlagSet) {
			flags.BoolVar(&opts.Values, "values", false, "also read all values and verify their checksums")
			flags.DurationVar(&opts.Retention, "compact-retention", logstructured.DefaultCompactRetention,
				"--compact-retention of the servers of the database")
		},
		func(ctx context.Context, _ []string) error { return t.check(ctx, opts) })
}

func (t *tool) check(ctx context.Context, opts logstructured.CheckOptions) error {
	database, _, err := t.open(ctx)
	if err != nil {
		return err
	}
	result, err := logstructured.Check(ctx, database, opts, func(p logstructured.Problem) {
		_, _ = fmt.Fprintln(t.stdout, p)
	})
	if closed := database.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := auth.Read(result.Records).Err(); err != nil {
		result.Problems++
		_, _ = fmt.Fprintln(t.stdout, err)
	}
	if n := result.WithoutChecksum; n > 0 {
		_, err = fmt.Fprintf(t.stdout, "%d entries have no checksum: a version without checksums wrote them\n", n)
	}
	if n := result.LaterWithoutChecksum; n > 0 && err == nil {
		_, err = fmt.Fprintf(t.stdout, "warning: %d entries have no checksum, though an entry before them has one; "+
			"unless an earlier version wrote them they are damaged\n", n)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.stdout,
		"%s: %d entries, %d keys, %d leases, revision %d, compact revision %d, problems: %d\n",
		t.name(), result.Entries, result.Keys, result.Leases, result.Revision, result.CompactRevision, result.Problems)
	if err == nil && result.Problems > 0 {
		err = fmt.Errorf("problems in the database: %d", result.Problems)
	}
	return err
}
