package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/transfer/importer"
	"github.com/stele-db/stele/transfer/kine"
)

// kine imports the table of kine.
func (r *importRun) kine(ctx context.Context) (_ *importer.Result, err error) {
	source, err := r.openKine(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if err := r.openTarget(ctx); err != nil {
		return nil, err
	}
	return importer.FromHistory(ctx, source, r.target, importer.HistoryOptions{
		Options: r.options(), LeaseMode: logstructured.LeaseMode(r.config.leaseMode), Quiet: r.config.quiet,
	})
}

func (r *importRun) openKine(ctx context.Context) (*kine.Table, error) {
	c := r.config
	flag, dsn := "--source", c.source
	connection, err := c.connection()
	if dsn == "" && err == nil { // --endpoint itself, reached in the same way
		flag, dsn = "--endpoint", r.database.endpoint
		connection, err = r.database.options(r.flags, r.logger)
	}
	if err != nil {
		return nil, err
	}
	table, err := kine.Open(ctx, dsn,
		kine.Options{Table: c.table, Options: drivers.Options{Logger: r.logger, Options: connection}})
	switch {
	case errors.Is(err, kine.ErrNotKine):
		return nil, fmt.Errorf("%s: %w; name kine's database with --source, and its table with --source-table", flag,
			err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return table, nil
}
