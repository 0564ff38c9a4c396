package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
)

// tool is what the commands beside serving have in common: a database, and no clients.
type tool struct {
	database databaseConfig
	log      logConfig
}

// flags are those of serving that say which database, and how to log.
func (t *tool) flags(fs *pflag.FlagSet) {
	t.database.connectionFlags(fs)
	t.log.flags(fs)
}

// environment sets the flags that are not on the command line.
func (t *tool) environment(flags *pflag.FlagSet) error {
	t.database.password = os.Getenv(passwordVariable)
	return applyEnvironment(flags, os.LookupEnv)
}

// open opens the database, which the caller closes.
func (t *tool) open(ctx context.Context, flags *pflag.FlagSet, stderr io.Writer) (logstructured.Log, *logrus.Entry, error) {
	log, err := t.log.logger(stderr)
	if err != nil {
		return nil, nil, err
	}
	if err := t.database.check(); err != nil {
		return nil, nil, err
	}
	connection, err := t.database.options(flags, log)
	if err != nil {
		return nil, nil, err
	}
	database, err := drivers.Open(ctx, t.database.endpoint, drivers.Options{Logger: log, Options: connection})
	if err != nil {
		return nil, nil, fmt.Errorf("--endpoint: %w", err)
	}
	return database, log, nil
}
