package importer

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/transfer/snapshot"
)

// LiveOptions configure the copy of a running source.
type LiveOptions struct {
	Options
	Server Server
	// Until, if not 0, is the last revision of the copy. The copy follows the source until it reaches that revision.
	Until logstructured.Revision
	// CutOver, if not nil, is closed to end the copy with the revision of the source at that moment. Without Until and
	// CutOver the copy ends with the revision of the source after the snapshot is copied.
	CutOver <-chan struct{}
	// Dir is the directory for a temporary snapshot; empty is the system's directory for temporary files.
	Dir string
}

// live is a copy of a running source.
type live struct {
	*copying
	opts   LiveOptions
	source *etcd
	// auth holds users and roles of the snapshot, nil if there was no snapshot.
	auth *snapshot.Auth
	// complete is the newest revision whose writes have all been copied, and at the position of the newest copied
	// write.
	complete int64
	at       logstructured.ImportPoint
	// revision and sub are the lowest possible revision and sub-revision of the next event.
	revision, sub int64
	// cut is the last revision of the copy, 0 while it is not known.
	cut int64
}

// Live copies a running server of etcd's API, such as another Stele.
func Live(ctx context.Context, target log.Log, opts LiveOptions) (r *Result, err error) {
	source, err := connect(ctx, opts.Server, opts.Logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.conn.Close()) }()
	r, err = source.look(ctx)
	if err != nil {
		return nil, err
	}
	if opts.Until != 0 && opts.Until < r.Revision {
		return nil, fmt.Errorf("the source is at revision %d already, and the copy cannot end with %d", r.Revision,
			opts.Until)
	}
	if opts.DryRun {
		return r, nil
	}
	c, err := start(ctx, opts.Options, target, r.Source, r.LeaseMode, r.CompactRevision)
	if err != nil {
		return nil, err
	}
	l := &live{copying: c, opts: opts, source: source, cut: int64(opts.Until)}
	return r, l.run(ctx, r)
}

func (l *live) run(ctx context.Context, r *Result) error {
	if at := l.target.Reached(); at.Revision > 0 {
		if err := l.continues(r.CompactRevision); err != nil {
			return err
		}
		l.at, l.complete = at, int64(at.Revision)-1
	} else if err := l.snapshot(ctx); err != nil {
		return err
	}
	if l.cut == 0 && l.opts.CutOver == nil {
		var err error
		if l.cut, err = l.source.revision(ctx); err != nil {
			return err
		}
	}
	err := l.follow(ctx)
	if err != nil {
		return err
	}
	r.Revision, r.Writes = logstructured.Revision(l.cut), int(l.done)
	if r.Keys, err = l.source.keys(ctx, l.cut); err != nil {
		return err
	}
	leases, err := l.leases(ctx, r)
	if err != nil {
		return err
	}
	records, err := l.users(ctx, r)
	if err != nil {
		return err
	}
	if err := l.hash(ctx, r); err != nil {
		return err
	}
	if err := l.verify(ctx, r); err != nil {
		return err
	}
	if err := l.finish(ctx, r, leases, records); err != nil {
		return err
	}
	now, err := l.source.revision(ctx)
	if err != nil {
		l.opts.Logger.WithError(err).Warn("the copy is complete; the source may have changed since")
		return nil
	}
	r.Missed = logstructured.Revision(now) - r.Revision
	return nil
}

// snapshot copies a snapshot of the source.
func (l *live) snapshot(ctx context.Context) error {
	f, err := l.source.download(ctx, l.opts.Dir, &l.opts.Options)
	if err != nil {
		return err
	}
	l.complete = f.Info().Revision
	l.auth, err = f.Auth()
	if err == nil {
		err = l.file(ctx, f)
	}
	l.at = logstructured.ImportPoint{Revision: logstructured.Revision(l.complete + 1), Sub: -1}
	return errors.Join(err, f.Close())
}

const (
	// leaseQuestions is the number of concurrent requests for leases.
	leaseQuestions = 32
	// endedTTL is the TTL of a lease that ended between the cut-over and the request for it.
	endedTTL = 2
)

// leases reads the leases. In the copy, each lease lasts its whole TTL from the end of the copy.
func (l *live) leases(ctx context.Context, r *Result) ([]logstructured.LeaseGrantResult, error) {
	if r.LeaseMode != logstructured.LeaseModeEtcd {
		return nil, nil
	}
	var ids []*pb.LeaseStatus
	err := l.source.retry(ctx, func(ctx context.Context) error {
		resp, err := l.source.lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
		ids = resp.GetLeases()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask the source for its leases: %w", err)
	}
	answers := make([]*pb.LeaseTimeToLiveResponse, len(ids))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(leaseQuestions)
	for i, id := range ids {
		if i%1000 == 0 {
			l.opts.progress(StageLeases, int64(i), int64(len(ids)))
		}
		group.Go(func() error {
			return l.source.retry(asking, func(ctx context.Context) (err error) {
				answers[i], err = l.source.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id.ID})
				if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
					return nil
				}
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("ask the source for a lease: %w", err)
	}
	granted := map[logstructured.LeaseID]bool{}
	var leases []logstructured.LeaseGrantResult
	for i, a := range answers {
		if id := logstructured.LeaseID(ids[i].ID); a != nil && a.TTL >= 0 && a.GrantedTTL > 0 {
			granted[id] = true
			leases = append(leases, logstructured.LeaseGrantResult{ID: id, TTL: a.GrantedTTL})
		}
	}
	named, err := l.target.LiveLeases(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range named {
		if !granted[id] {
			leases = append(leases, logstructured.LeaseGrantResult{ID: id, TTL: endedTTL})
		}
	}
	return leases, nil
}

// users returns the records of users and roles. Only a snapshot has their passwords: if they have changed since the
// last snapshot, users downloads another one.
func (l *live) users(ctx context.Context, r *Result) ([]logstructured.RecordChange, error) {
	auth := l.auth
	status, err := l.source.auth.AuthStatus(ctx, &pb.AuthStatusRequest{})
	switch {
	case err == nil && auth == nil && !status.Enabled && status.AuthRevision <= 1:
		return nil, nil
	case err == nil && auth != nil && status.Enabled == auth.Enabled &&
		max(status.AuthRevision, 1) == max(auth.Revision, 1):
	default: // also for etcd before 3.5, which does not report the revision
		f, err := l.source.download(ctx, l.opts.Dir, &l.opts.Options)
		if err != nil {
			return nil, err
		}
		auth, err = f.Auth()
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	r.Users, r.Roles = len(auth.Users), len(auth.Roles)
	return authRecords(auth), nil
}

// hash reads the HashKV of the source, and the compact revision for which it was computed.
func (l *live) hash(ctx context.Context, r *Result) error {
	compact := r.CompactRevision
	err := l.source.retry(ctx, func(ctx context.Context) (err error) {
		if compact, err = l.source.compactRevision(ctx); err != nil {
			return err
		}
		resp, err := l.source.maint.HashKV(ctx, &pb.HashKVRequest{Revision: l.cut})
		r.HashKV, r.CompactRevision = resp.GetHash(), logstructured.Revision(resp.GetCompactRevision())
		return err
	})
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return l.unverifiable()
	case err != nil:
		return fmt.Errorf("ask the source for its HashKV: %w", err)
	case max(r.CompactRevision, 0) != max(compact, 0):
		// At revisions up to the compact revision, etcd answers with the hash that it computed before that compaction.
		return l.hashSnapshot(ctx, r)
	}
	return nil
}

// hashSnapshot computes the HashKV from another snapshot.
func (l *live) hashSnapshot(ctx context.Context, r *Result) error {
	f, err := l.source.download(ctx, l.opts.Dir, &l.opts.Options)
	if err != nil {
		return err
	}
	r.CompactRevision = logstructured.Revision(f.Info().CompactRevision)
	if int64(r.CompactRevision) > l.cut {
		return errors.Join(l.unverifiable(), f.Close())
	}
	r.HashKV, err = f.HashKV(l.cut)
	return errors.Join(err, f.Close())
}

func (l *live) unverifiable() error {
	return fmt.Errorf("%w: revision %d, with which the copy ends, cannot be verified any more: empty the target and "+
		"import again", ErrSourceCompacted, l.cut)
}
