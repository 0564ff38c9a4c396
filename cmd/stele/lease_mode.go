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

const leaseModeHelp = `Make the leases in the database those of another mode, and exit. Stop all servers before, and start them with
--lease-mode=MODE afterwards; a server of the former mode refuses to go on.

To etcd: each TTL in use becomes a lease of that ID and TTL, granted now; no key expires earlier than it would have.
To ttl: each key that has a lease is written again, all in one revision, with what is left of its lease as TTL.`

func newLeaseModeCommand() *cobra.Command {
	var t tool
	flags := pflag.NewFlagSet("lease-mode", pflag.ContinueOnError)
	t.flags(flags)
	cmd := &cobra.Command{
		Use: "lease-mode MODE", Short: "Convert the leases in the database to mode etcd or ttl", Long: leaseModeHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("stele lease-mode takes the mode and flags: stele lease-mode etcd, or stele lease-mode ttl")
			}
			mode := logstructured.LeaseMode(args[0])
			if err := mode.Valid(); err != nil {
				return err
			}
			if err := t.environment(flags); err != nil {
				return err
			}
			return t.convertLeases(cmd.Context(), mode, flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(flags)
	return cmd
}

func (t *tool) convertLeases(ctx context.Context, to logstructured.LeaseMode, flags *pflag.FlagSet, stdout, stderr io.Writer) error {
	from := logstructured.LeaseModeTTL
	if to == from {
		from = logstructured.LeaseModeEtcd
	}
	keys := 0
	convert := func(s *logstructured.Store) (err error) {
		keys, err = s.ConvertLeases(ctx, to)
		return err
	}
	err := t.withStore(ctx, flags, logstructured.Options{LeaseMode: from}, stderr, convert)
	if errors.Is(err, logstructured.ErrLeaseModeMismatch) { // then they are of that mode already
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "the leases in %s are of mode %s; converted keys: %d\n", drivers.Describe(t.database.endpoint), to, keys)
	return err
}

// withStore opens a store, runs it while use does, and stops it.
func (t *tool) withStore(ctx context.Context, flags *pflag.FlagSet, opts logstructured.Options, stderr io.Writer, use func(*logstructured.Store) error) error {
	database, log, err := t.open(ctx, flags, stderr)
	if err != nil {
		return err
	}
	opts.Logger = log
	store, err := logstructured.Open(ctx, database, opts)
	if err != nil {
		return fmt.Errorf("--endpoint: cannot read %s: %w", drivers.Describe(t.database.endpoint), err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- store.Run(running) }()
	err = use(store)
	stop()
	return errors.Join(err, <-done)
}
