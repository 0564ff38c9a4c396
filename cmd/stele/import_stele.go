package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/transfer/importer"
)

// stele copies another database of Stele.
func (r *importRun) stele(ctx context.Context) (_ *importer.Result, err error) {
	connection, err := r.config.connection()
	if err != nil {
		return nil, err
	}
	source, err := drivers.Open(ctx, r.config.source, drivers.Options{Logger: r.logger, Options: connection})
	if err != nil {
		return nil, fmt.Errorf("--source: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if err := r.openTarget(ctx); err != nil {
		return nil, err
	}
	result, err := importer.Log(ctx, source, r.target, r.options())
	if err != nil {
		return nil, ofSource(err)
	}
	result.Source = drivers.Describe(r.config.source)
	return result, nil
}
