package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stele-db/stele/logstructured"
)

const leaseModeHelp = `Make the leases in the database those of another mode, and exit. Stop all servers before, and start them with
--lease-mode=MODE afterwards; a server of the former mode refuses to go on.

To etcd: each TTL in use becomes a lease of that ID and TTL, granted now; no key expires earlier than it would have.
To ttl: each key that has a lease is written again, all in one revision, with what is left of its lease as TTL.`

func newLeaseModeCommand() *cobra.Command {
	var t tool
	return t.command(&cobra.Command{
		Use: "lease-mode MODE", Short: "Convert the leases in the database to mode etcd or ttl", Long: leaseModeHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("stele lease-mode takes the mode and flags: stele lease-mode etcd, or stele lease-mode ttl")
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
	if errors.Is(err, logstructured.ErrLeaseModeMismatch) { // then they are of that mode already
		err = nil
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.stdout, "the leases in %s are of mode %s; converted keys: %d\n", t.name(), to, keys)
	return err
}
