package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
)

var (
	// ErrMismatch means that the copy differs from its source.
	ErrMismatch = errors.New("the copy differs from its source")
	// ErrSourceCompacted means that the source has compacted revisions that the copy needs.
	ErrSourceCompacted = errors.New("the source has compacted what was not copied yet")
	// ErrNeedsUser means that the source requires authentication.
	ErrNeedsUser = errors.New("the source requires authentication: name a user with the role root")
)

// Options are common to all sources.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Progress, if not nil, is called with the progress of the copy. It must not block.
	Progress func(Progress)
	// DryRun only reads the source. The target may be nil.
	DryRun bool
}

// Stage is a stage of a copy.
type Stage string

// The stages, in their order.
const (
	// StageDownload downloads a snapshot, in bytes.
	StageDownload Stage = "download"
	// StageCopy writes the history into the target, in writes.
	StageCopy Stage = "copy"
	// StageFollow copies later writes of the source, in revisions.
	StageFollow Stage = "follow"
	// StageLeases reads the leases.
	StageLeases Stage = "leases"
	// StageVerify reads the copy back.
	StageVerify Stage = "verify"
)

// Progress is the progress of a stage.
type Progress struct {
	Stage Stage
	// Total is 0 if it is not known. In StageFollow, Done and Total are the revisions of the copy and of the source.
	Done, Total int64
}

// Result describes the copy, or with DryRun the source.
type Result struct {
	// Source describes the source, without credentials.
	Source string
	// LeaseMode is the lease mode of the copy, and of its servers.
	LeaseMode logstructured.LeaseMode
	// Revision is the current revision, and CompactRevision the compact one, 0 or less if there is none.
	Revision, CompactRevision logstructured.Revision
	// Keys is the number of live keys, Writes the number of writes in the history. With DryRun they may be 0, if the
	// source does not report them.
	Keys, Writes, Leases, Users, Roles int
	// Notes describe for operators which content was left out or translated.
	Notes []string
	// HashKV is the hash at Revision, as `etcdctl endpoint hashkv --rev` reports it.
	HashKV uint32
	// Missed is the number of known revisions of the source after the end of the copy.
	Missed logstructured.Revision
}

func (o *Options) progress(stage Stage, done, total int64) {
	if o.Progress != nil {
		o.Progress(Progress{stage, done, total})
	}
}

// copying is a copy in progress.
type copying struct {
	opts   Options
	target *logstructured.Import
	// done is the number of writes read from the source, including those that an earlier attempt has copied.
	done, total int64
	reportedAt  time.Time
}

// start begins or resumes a copy. compact is the compact revision of the source.
func start(ctx context.Context, opts Options, target log.Log, source string, mode logstructured.LeaseMode,
	compact logstructured.Revision) (*copying, error) {
	m, err := logstructured.StartImport(ctx, target,
		logstructured.ImportOptions{Source: source, LeaseMode: mode, CompactRevision: compact})
	if err != nil {
		return nil, err
	}
	if at := m.Reached(); at.Revision > 0 {
		opts.Logger.WithField("revision", at.Revision).Info("resuming an import that was interrupted")
	}
	return &copying{opts: opts, target: m}, nil
}

// continues returns an error if the source has compacted revisions that follow the content of the target: a key that
// was deleted in between would stay alive.
func (c *copying) continues(compact logstructured.Revision) error {
	if at := c.target.Reached(); at.Revision > 0 && compact >= at.Revision {
		return fmt.Errorf("%w: an earlier import had come to revision %d, and everything up to %d is compacted: "+
			"empty the target and import again",
			ErrSourceCompacted, at.Revision, compact)
	}
	return nil
}

// write copies one write of the source.
func (c *copying) write(ctx context.Context, e log.Entry) error {
	if err := c.target.Write(ctx, e); err != nil {
		return err
	}
	c.done++
	if time.Since(c.reportedAt) > progressInterval {
		c.reportedAt = time.Now()
		c.opts.progress(StageCopy, c.done, c.total)
	}
	return nil
}

// progressInterval is the shortest time between two calls of Progress.
const progressInterval = 100 * time.Millisecond

// readBack returns the hashes of the copy, read back from the database.
func (c *copying) readBack(ctx context.Context, revision, compact logstructured.Revision) (hashkv.Sums, error) {
	c.opts.progress(StageVerify, 0, c.done)
	sums, err := c.target.HashKV(ctx, revision, compact, func(entries int) {
		c.opts.progress(StageVerify, int64(entries), c.done)
	})
	if err != nil {
		return sums, fmt.Errorf("verify the copy: %w", err)
	}
	return sums, nil
}

// verify compares the HashKV of the copy with the HashKV of the source.
func (c *copying) verify(ctx context.Context, r *Result) error {
	if err := c.target.Check(ctx); err != nil {
		return fmt.Errorf("verify the copy: %w", err)
	}
	got, err := c.readBack(ctx, r.Revision, r.CompactRevision)
	if err != nil {
		return err
	}
	if got.Current != r.HashKV {
		return fmt.Errorf("%w: HashKV at revision %d is %d there and %d here; the target is left unfinished, and no "+
			"server starts on it", ErrMismatch, r.Revision, r.HashKV, got.Current)
	}
	return nil
}

// finish makes the copy usable.
func (c *copying) finish(ctx context.Context, r *Result, leases []logstructured.LeaseGrantResult,
	records []logstructured.RecordChange) error {
	r.Leases = len(leases)
	end := logstructured.ImportEnd{Revision: r.Revision, CompactRevision: r.CompactRevision, Records: records}
	if r.LeaseMode == logstructured.LeaseModeEtcd {
		end.Leases = leases
	}
	return c.target.Finish(ctx, end)
}
