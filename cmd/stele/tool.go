package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// tool is the common part of the commands that open the database and serve no clients.
type tool struct {
	database databaseConfig
	log      logConfig

	flags          *pflag.FlagSet
	stdout, stderr io.Writer
}

// command completes cmd with the flags that own declares and the flags of the database connection and the log. The
// command rejects arguments unless cmd.Args is set.
func (t *tool) command(
	cmd *cobra.Command, own func(*pflag.FlagSet), run func(ctx context.Context, args []string) error,
) *cobra.Command {
	t.flags = pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	if own != nil {
		own(t.flags)
	}
	t.database.connectionFlags(t.flags)
	t.log.flags(t.flags)
	if cmd.Args == nil {
		cmd.Args = func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // not in the message: it may be a DSN with a password
				return fmt.Errorf("stele %s takes flags only; name the database with --endpoint", cmd.Name())
			}
			return nil
		}
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t.stdout, t.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		if err := applyEnvironment(cmd.Root(), t.flags, os.Environ()); err != nil {
			return err
		}
		t.database.password = os.Getenv(passwordVariable)
		return run(cmd.Context(), args)
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(t.flags)
	return cmd
}

// name describes the database without credentials.
func (t *tool) name() string { return drivers.Describe(t.database.endpoint) }

// open opens the database, which the caller closes. It creates no file.
func (t *tool) open(ctx context.Context) (log.Log, *logrus.Entry, error) {
	if err := mustExist(t.database.endpoint); err != nil {
		return nil, nil, fmt.Errorf("--endpoint: %w", err)
	}
	return t.create(ctx)
}

// create opens the database, and creates it if it does not exist.
func (t *tool) create(ctx context.Context) (log.Log, *logrus.Entry, error) {
	logger, err := t.log.logger(t.stderr)
	if err != nil {
		return nil, nil, err
	}
	if err := t.database.check(); err != nil {
		return nil, nil, err
	}
	connection, err := t.database.options(t.flags, logger)
	if err != nil {
		return nil, nil, err
	}
	database, err := drivers.Open(ctx, t.database.endpoint, drivers.Options{Logger: logger, Options: connection})
	if err != nil {
		return nil, nil, ofEndpoint(err, "")
	}
	return database, logger, nil
}

// withStore opens a store and runs it while it calls use.
func (t *tool) withStore(ctx context.Context, opts logstructured.Options, use func(*logstructured.Store) error) error {
	database, logger, err := t.open(ctx)
	if err != nil {
		return err
	}
	opts.Logger = logger
	store, err := logstructured.Open(ctx, database, opts)
	if err != nil {
		return ofEndpoint(fmt.Errorf("%w, reading %s", err, t.name()), opts.LeaseMode)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- store.Run(running) }()
	err = use(store)
	stop()
	return errors.Join(err, <-done)
}
