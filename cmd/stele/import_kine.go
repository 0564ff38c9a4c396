package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/kine"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// kineSource is kine's table.
type kineSource struct {
	*kine.Table
	described string
}

func openKine(ctx context.Context, t *tool, c *importConfig) (source, error) {
	logger, err := t.log.logger(t.stderr)
	if err != nil {
		return nil, err
	}
	flag, dsn := "--source", c.source
	connection, err := c.connection()
	if dsn == "" && err == nil { // --endpoint itself, reached in the same way
		flag, dsn = "--endpoint", t.database.endpoint
		connection, err = t.database.options(t.flags, logger)
	}
	if err != nil {
		return nil, err
	}
	table, err := kine.Open(ctx, dsn, kine.Options{Table: c.table, Options: drivers.Options{Logger: logger, Options: connection}})
	switch {
	case errors.Is(err, kine.ErrNotKine):
		return nil, fmt.Errorf("%s: %w; name kine's database with --source, and its table with --source-table", flag, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return &kineSource{table, fmt.Sprintf("kine's table %s in %s", c.table, drivers.Describe(dsn))}, nil
}

func (s *kineSource) name() string { return s.described }

func (s *kineSource) outline(ctx context.Context) (outline, error) {
	survey, err := s.Survey(ctx)
	return s.outlined(survey), err
}

func (*kineSource) outlined(s kine.Survey) outline {
	return outline{rows: s.Rows, revision: s.Revision, compact: s.CompactRevision}
}

func (s *kineSource) read(ctx context.Context, fn func(log.Entry) error) (*contents, error) {
	survey, history, err := s.Read(ctx, fn)
	if err != nil {
		return nil, err
	}
	c := &contents{outline: s.outlined(survey), keys: history.Keys(), writes: history.Writes}
	for _, ttl := range history.TTLs() {
		c.leases = append(c.leases, logstructured.LeaseGrantResult{ID: ttl, TTL: int64(ttl)})
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
			c.notes = append(c.notes, fmt.Sprintf("%s: %d", left.what, left.rows))
		}
	}
	return c, nil
}
