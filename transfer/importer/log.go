package importer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/server/auth"
)

// copyAttempts bounds the attempts to copy a log whose rows a compaction deletes during the copy.
const copyAttempts = 5

// Log copies another log as of one moment. Servers may keep running on it; their later writes are not copied.
func Log(ctx context.Context, source, target log.Log, opts Options) (*Result, error) {
	for attempt := 1; ; attempt++ {
		r, err := copyLog(ctx, source, target, opts)
		if !errors.Is(err, logstructured.ErrCompacted) || attempt == copyAttempts || ctx.Err() != nil {
			return r, err
		}
		opts.Logger.WithError(err).Info("the source was compacted during the import; copying its current content")
	}
}

func copyLog(ctx context.Context, source, target log.Log, opts Options) (*Result, error) {
	before, err := source.End(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	x, err := logstructured.ExportLog(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	r := &Result{
		Source: fmt.Sprintf("the Stele database of cluster %x", before.ClusterID), LeaseMode: x.LeaseMode(),
		Revision: x.Revision, CompactRevision: x.CompactRevision, Keys: x.Keys(), Writes: x.Len(),
	}
	if err := auth.Read(x.Records).Err(); err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	leases, records := r.besideLog(x)
	if opts.DryRun {
		return r, nil
	}
	c, err := start(ctx, opts, target, r.Source, r.LeaseMode, r.CompactRevision)
	if err != nil {
		return nil, err
	}
	if err := c.continues(r.CompactRevision); err != nil {
		return nil, err
	}
	c.total = int64(x.Len())
	r.HashKV, err = x.Read(ctx, func(entries []log.Entry) error {
		for i := range entries {
			if err := c.write(ctx, entries[i]); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("copy the log: %w", err)
	}
	if err := c.verify(ctx, r); err != nil {
		return nil, err
	}
	if err := c.finish(ctx, r, leases, records); err != nil {
		return nil, err
	}
	after, err := logstructured.ExportLog(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("read the source again: %w", err)
	}
	r.Missed = max(0, after.Revision-r.Revision)
	return r, nil
}

// besideLog returns the content of an export other than the history.
func (r *Result) besideLog(x *logstructured.Export) (leases []logstructured.LeaseGrantResult,
	records []logstructured.RecordChange) {
	if r.LeaseMode == logstructured.LeaseModeEtcd { // in mode ttl the export derives the leases from the TTLs
		for _, l := range x.Leases {
			leases = append(leases, logstructured.LeaseGrantResult{ID: l.ID, TTL: l.TTL})
		}
	}
	records = x.Records.Settings()
	for _, record := range records {
		if strings.HasPrefix(record.Name, auth.UserPrefix) {
			r.Users++
		} else if strings.HasPrefix(record.Name, auth.RolePrefix) {
			r.Roles++
		}
	}
	r.Leases = len(leases)
	return leases, records
}
