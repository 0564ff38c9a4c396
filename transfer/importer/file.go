package importer

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/server/auth"
	"github.com/stele-db/stele/transfer/snapshot"
)

// File copies a snapshot.
func File(ctx context.Context, f *snapshot.File, target log.Log, opts Options) (*Result, error) {
	info := f.Info()
	r := &Result{
		Source: fmt.Sprintf("the etcd snapshot with SHA-256 %x", info.Digest), LeaseMode: logstructured.LeaseModeEtcd,
		Revision: logstructured.Revision(info.Revision), CompactRevision: logstructured.Revision(info.CompactRevision),
	}
	leases, records, err := beside(f, r)
	if err != nil {
		return nil, err
	}
	if r.HashKV, err = f.HashKV(info.Revision); err != nil {
		return nil, err
	}
	if err := count(f, r); err != nil || opts.DryRun {
		return r, err
	}
	c, err := start(ctx, opts, target, r.Source, r.LeaseMode, r.CompactRevision)
	if err != nil {
		return nil, err
	}
	if err := c.file(ctx, f); err != nil {
		return nil, err
	}
	if err := c.verify(ctx, r); err != nil {
		return nil, err
	}
	return r, c.finish(ctx, r, leases, records)
}

// file copies the history of a snapshot to the target.
func (c *copying) file(ctx context.Context, f *snapshot.File) error {
	entries, err := f.Entries()
	if err != nil {
		return err
	}
	c.total = int64(entries)
	err = f.Revisions(0, 0, func(r snapshot.Revision) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.write(ctx, entry(r))
	})
	if err != nil {
		return fmt.Errorf("copy the snapshot: %w", err)
	}
	return c.target.Flush(ctx)
}

func entry(r snapshot.Revision) log.Entry {
	if r.Tombstone {
		return log.Entry{Kind: log.KindTombstone, Revision: logstructured.Revision(r.Main), Sub: r.Sub, Key: r.KV.Key}
	}
	return log.Entry{
		Kind: log.KindPut, Revision: logstructured.Revision(r.Main), Sub: r.Sub, Key: r.KV.Key, Value: r.KV.Value,
		CreateRevision: logstructured.Revision(r.KV.CreateRevision), Version: r.KV.Version,
		Lease: logstructured.LeaseID(r.KV.Lease),
	}
}

// count counts the live keys and the writes.
func count(f *snapshot.File, r *Result) error {
	live := map[string]bool{}
	err := f.Revisions(0, 0, func(rev snapshot.Revision) error {
		r.Writes++
		if rev.Tombstone {
			delete(live, string(rev.KV.Key))
		} else {
			live[string(rev.KV.Key)] = true
		}
		return nil
	})
	r.Keys = len(live)
	return err
}

// beside reads the leases, users and roles of a snapshot.
func beside(f *snapshot.File, r *Result) ([]logstructured.LeaseGrantResult, []logstructured.RecordChange, error) {
	stored, err := f.Leases()
	if err != nil {
		return nil, nil, err
	}
	leases := make([]logstructured.LeaseGrantResult, len(stored))
	for i, l := range stored {
		leases[i] = logstructured.LeaseGrantResult{ID: logstructured.LeaseID(l.ID), TTL: l.TTL}
	}
	users, err := f.Auth()
	if err != nil {
		return nil, nil, err
	}
	r.Leases, r.Users, r.Roles = len(leases), len(users.Users), len(users.Roles)
	return leases, authRecords(users), nil
}

// authRecords returns the records of the Auth service, none if it was never used.
func authRecords(stored *snapshot.Auth) (records []logstructured.RecordChange) {
	for _, u := range stored.Users {
		records = append(records, logstructured.RecordChange{Name: auth.UserPrefix + u.Name, Value: u.Value})
	}
	for _, r := range stored.Roles {
		records = append(records, logstructured.RecordChange{Name: auth.RolePrefix + r.Name, Value: r.Value})
	}
	if stored.Enabled {
		records = append(records, logstructured.RecordChange{Name: auth.RecordEnabled, Value: auth.EncodeEnabled()})
	}
	if len(records) > 0 || stored.Revision > 1 {
		records = append(records,
			logstructured.RecordChange{Name: auth.RecordRevision, Value: auth.EncodeRevision(stored.Revision)})
	}
	return records
}
