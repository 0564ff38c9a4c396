package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-db/stele/logstructured"
)

const leaseModeHelp = `Convert the leases in the database to another mode, and exit. Stop all servers first, and start
them with --lease-mode=MODE afterwards; a server in the previous mode stops with an error.

To etcd: each TTL in use becomes a lease with that ID and TTL, granted now; no key expires earlier than before.
To ttl: each key that has a lease is rewritten, all in one revision, with the remaining time of its lease as TTL.`

func newLeaseModeCommand() *cobra.Command {
	var t tool
	return t.command(&cobra.Command{
		Use: "lease-mode MODE", Short: "Convert the leases in the database to mode etcd or ttl", Long: leaseModeHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("stele lease-mode takes the mode and flags: stele lease-mode etcd, or stele " +
					"lease-mode ttl")
			}
			return logstructured.LeaseMode(args[0]).Valid()
		},
	}, nil, func(ctx context.Context, args []string) error {
		return t.convertLeases(ctx, logstructured.LeaseMode(args[0]))
	})
}

func (t *tool) convertLeases(ctx context.Context, to logstructured.LeaseMode) error {
	from := logstructured.LeaseModeTTL
	if to == from {
		from = logstructured.LeaseModeEtcd
	}
	keys := 0
	err := t.withStore(ctx, logstructured.Options{LeaseMode: from}, func(s *logstructured.Store) (err error) {
		keys, err = s.ConvertLeases(ctx, to)
		return err
	})
	if errors.Is(err, logstructured.ErrLeaseModeMismatch) { // the leases are in that mode already
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.stdout, "the leases in %s are of mode %s; converted keys: %d\n", t.name(), to, keys)
	return err
}
