package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/transfer/importer"
	"github.com/stele-db/stele/transfer/kine"
)

// kineSource is kine's table as a source of an import.
type kineSource struct {
	*kine.Table
	described string
}

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

func (r *importRun) openKine(ctx context.Context) (*kineSource, error) {
	c := r.config
	flag, dsn := "--source", c.source
	connection, err := c.connection()
	if dsn == "" && err == nil { // --endpoint itself, reached in the same way
		flag, dsn = "--endpoint", r.database.endpoint
		connection, err = r.database.options(r.flags, r.log)
	}
	if err != nil {
		return nil, err
	}
	table, err := kine.Open(ctx, dsn,
		kine.Options{Table: c.table, Options: drivers.Options{Logger: r.log, Options: connection}})
	switch {
	case errors.Is(err, kine.ErrNotKine):
		return nil, fmt.Errorf("%s: %w; name kine's database with --source, and its table with --source-table", flag,
			err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return &kineSource{table, fmt.Sprintf("kine's table %s in %s", c.table, drivers.Describe(dsn))}, nil
}

// Name implements [importer.History].
func (s *kineSource) Name() string { return s.described }

// Outline implements [importer.History].
func (s *kineSource) Outline(ctx context.Context) (importer.Outline, error) {
	survey, err := s.Survey(ctx)
	return s.outlined(survey), err
}

func (*kineSource) outlined(s kine.Survey) importer.Outline {
	return importer.Outline{Rows: s.Rows, Revision: s.Revision, CompactRevision: s.CompactRevision}
}

// Read implements [importer.History].
func (s *kineSource) Read(ctx context.Context, fn func(log.Entry) error) (*importer.Contents, error) {
	survey, history, err := s.Table.Read(ctx, fn)
	if err != nil {
		return nil, err
	}
	c := &importer.Contents{Outline: s.outlined(survey), Keys: history.Keys(), Writes: history.Writes}
	for _, ttl := range history.TTLs() {
		c.Leases = append(c.Leases, logstructured.LeaseGrantResult{ID: ttl, TTL: int64(ttl)})
	}
	for _, left := range []struct {
		rows int
		what string
	}{
		{history.Gaps, "left out, rows that fill gaps (their revisions count)"},
		{history.Markers, "left out, rows of kine's own compaction (the compact revision counts)"},
		{history.Repeated, "left out, deletions of what was deleted"},
		{history.Translated, "translated, writes of compact_rev_key, which kine keeps as compact_rev_key_apiserver"},
		{history.Leased, "writes with a TTL, which begins now"},
	} {
		if left.rows > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: %d", left.what, left.rows))
		}
	}
	return c, nil
}
