package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

var (
	// ErrMismatch means that the copy differs from its source.
	ErrMismatch = errors.New("the copy differs from its source")
	// ErrSourceCompacted means that the source does not have any more what comes next.
	ErrSourceCompacted = errors.New("the source has compacted what was not copied yet")
	// ErrNeedsUser means that the source asks for a user and a password.
	ErrNeedsUser = errors.New("the source asks who is there: name a user who has the role root")
)

// Options are common to all sources.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Progress, if not nil, is told how far the copy is. It returns soon.
	Progress func(Progress)
	// DryRun only looks at the source, and writes nothing. The target may be nil.
	DryRun bool
}

// Stage is what a copy does.
type Stage string

// The stages, in their order.
const (
	// StageDownload gets a snapshot: bytes.
	StageDownload Stage = "download"
	// StageCopy writes the history into the target: writes.
	StageCopy Stage = "copy"
	// StageFollow writes what happens meanwhile: revisions.
	StageFollow Stage = "follow"
	// StageLeases asks for leases.
	StageLeases Stage = "leases"
	// StageVerify reads the copy again.
	StageVerify Stage = "verify"
)

// Progress is how far a stage is.
type Progress struct {
	Stage Stage
	// Done of Total; Total is 0 if nobody knows. In StageFollow they are the revision of the copy and that of the
	// source.
	Done, Total int64
}

// Result is what was copied, or what there is to copy in a dry run.
type Result struct {
	// Source names it, without credentials.
	Source string
	// LeaseMode is that of the copy, with which it must be served.
	LeaseMode logstructured.LeaseMode
	// Revision is the current revision, and CompactRevision the compact one, 0 or less if there is none.
	Revision, CompactRevision logstructured.Revision
	// Keys that live, Writes in the history, and what is beside it. In a dry run Keys or Writes are 0 if the source
	// does not tell.
	Keys, Writes, Leases, Users, Roles int
	// Notes say for operators what was left out or translated.
	Notes []string
	// HashKV is that of Revision, as `etcdctl endpoint hashkv --rev` tells it.
	HashKV uint32
	// Missed is how many revisions the source went on after the copy ended, as far as is known.
	Missed logstructured.Revision
}

func (o *Options) progress(stage Stage, done, total int64) {
	if o.Progress != nil {
		o.Progress(Progress{stage, done, total})
	}
}

// copying is a copy under way.
type copying struct {
	opts   Options
	target *logstructured.Import
	// done are the writes that came from the source, those included that the target has from an earlier attempt.
	done, total int64
	told        time.Time
}

// start begins or goes on with a copy. compact is the source's compact revision.
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

// continues returns an error if a source that is compacted at a revision does not have everything any more that comes
// after what the target holds from an earlier attempt: a key that was deleted in between would live on.
func (c *copying) continues(compact logstructured.Revision) error {
	if at := c.target.Reached(); at.Revision > 0 && compact >= at.Revision {
		return fmt.Errorf("%w: an earlier import had come to revision %d, and everything up to %d is compacted: "+
			"empty the target and import again",
			ErrSourceCompacted, at.Revision, compact)
	}
	return nil
}

// write adds a write of the source's.
func (c *copying) write(ctx context.Context, e log.Entry) error {
	if err := c.target.Write(ctx, e); err != nil {
		return err
	}
	c.done++
	if time.Since(c.told) > progressInterval {
		c.told = time.Now()
		c.opts.progress(StageCopy, c.done, c.total)
	}
	return nil
}

// progressInterval is how often progress is told at most.
const progressInterval = 100 * time.Millisecond

// verify compares the HashKV of the copy, read again from the database, with that of the source.
func (c *copying) verify(ctx context.Context, revision, compact logstructured.Revision, want uint32) error {
	c.opts.progress(StageVerify, 0, 0)
	got, err := c.target.HashKV(ctx, revision, compact)
	if err != nil {
		return fmt.Errorf("verify the copy: %w", err)
	}
	if got != want {
		return fmt.Errorf("%w: HashKV at revision %d is %d there and %d here; the target is left unfinished, and no "+
			"server starts on it", ErrMismatch, revision, want, got)
	}
	return nil
}

// finish makes the copy usable, and describes it.
func (c *copying) finish(ctx context.Context, r *Result, leases []logstructured.LeaseGrantResult,
	records []logstructured.RecordChange) error {
	r.Leases = len(leases)
	end := logstructured.ImportEnd{Revision: r.Revision, CompactRevision: r.CompactRevision, Records: records}
	if r.LeaseMode == logstructured.LeaseModeEtcd {
		end.Leases = leases
	}
	return c.target.Finish(ctx, end)
}
