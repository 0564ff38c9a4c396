package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/transfer/importer"
	"github.com/stele-db/stele/transfer/snapshot"
)

// importRun is one run of the import command.
type importRun struct {
	*tool
	config *importConfig
	logger *logrus.Entry
	// target is the database to fill, nil until it is opened and in a dry run.
	target log.Log
	// bar shows the progress of stage.
	bar   *progress
	stage importer.Stage
	// reportedAt is the time of the last log line about a copy that follows its source.
	reportedAt time.Time
}

// openTarget opens the database to fill, unless the run is dry. The caller opens the source first: a wrong source must
// not create the database.
func (r *importRun) openTarget(ctx context.Context) (err error) {
	if r.config.dryRun {
		return nil
	}
	r.database.besideKine = true
	r.target, _, err = r.create(ctx)
	return err
}

// explain adds to an error the flags and the advice for the operator.
func (r *importRun) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && !r.config.follow:
		return fmt.Errorf("interrupted: run the same command again, and it goes on where it stopped: %w", err)
	case errors.Is(err, importer.ErrWritten):
		return fmt.Errorf("%w: stop what serves it, and run the same command again", err)
	case errors.Is(err, importer.ErrTargetChanged):
		return fmt.Errorf("--endpoint: %w; empty the database and run the same command again", err)
	case errors.Is(err, importer.ErrNeedsUser):
		return fmt.Errorf("--user: %w, and give the password in %s or by --source-password-file", err,
			sourcePasswordVariable)
	case errors.Is(err, logstructured.ErrImportTarget):
		return fmt.Errorf("--endpoint: %w (if its content is not needed, drop its tables stele_* or delete the file)",
			err)
	case errors.Is(err, snapshot.ErrNoChecksum):
		return fmt.Errorf("--source: %w: it is a copy of an etcd's database, or is truncated; "+
			"--skip-hash-check imports a copy without its hash", err)
	}
	return err
}

// reportHistory reports the copy of a source without HashKV.
func (r *importRun) reportHistory(result *importer.Result, took time.Duration) error {
	what := fmt.Sprintf("was imported into %s in %v, and compared with what is there now", r.name(),
		took.Round(100*time.Millisecond))
	if r.config.dryRun {
		what = fmt.Sprintf("can be imported into %s; nothing was changed", r.name())
	}
	_, err := fmt.Fprintf(r.stdout, "%s %s: %d writes, %d keys, revision %d, compact revision %d\n",
		result.Source, what, result.Writes, result.Keys, result.Revision, result.CompactRevision)
	for _, note := range result.Notes {
		if err == nil {
			_, err = fmt.Fprintf(r.stdout, "  %s\n", note)
		}
	}
	return err
}

// reportCopy reports a copy that was verified by its HashKV.
func (r *importRun) reportCopy(result *importer.Result, took time.Duration) error {
	what := fmt.Sprintf("was copied into %s in %v, and has the same HashKV %d there",
		r.name(), took.Round(100*time.Millisecond), result.HashKV)
	if r.config.dryRun {
		what = fmt.Sprintf("can be copied into %s; nothing was changed", r.name())
	}
	_, err := fmt.Fprintf(r.stdout,
		"%s %s: revision %d, compact revision %d, keys: %d, leases: %d, users: %d, roles: %d\n",
		result.Source, what, result.Revision, result.CompactRevision,
		result.Keys, result.Leases, result.Users, result.Roles)
	if err == nil && result.LeaseMode == logstructured.LeaseModeEtcd {
		_, err = fmt.Fprintln(r.stdout,
			"  its leases are etcd's: start servers with --lease-mode=etcd, or run `stele lease-mode ttl` first")
	}
	if err == nil && result.Missed > 0 {
		_, err = fmt.Fprintf(r.stdout, "  THE SOURCE WAS WRITTEN SINCE: %d revisions are not in the copy\n",
			result.Missed)
	}
	return err
}

// progress shows the progress of a stage.
func (r *importRun) progress(p importer.Progress) {
	if p.Stage == importer.StageFollow {
		r.following(p)
		return
	}
	if p.Stage != r.stage {
		r.bar.end()
		r.stage, r.bar = p.Stage, newProgress(r.stderr, r.logger, stages[p.Stage], p.Total)
	}
	r.bar.set(p.Done)
}

// following logs how far the copy is behind the source. This stage has no known end.
func (r *importRun) following(p importer.Progress) {
	r.bar.end()
	r.bar = nil
	if now := time.Now(); r.stage != p.Stage || now.Sub(r.reportedAt) >= progressEvery {
		r.stage, r.reportedAt = p.Stage, now
		r.logger.WithFields(logrus.Fields{"revision": p.Done, "behind": p.Total - p.Done}).Info("following the source")
	}
}

var stages = map[importer.Stage]string{
	importer.StageDownload: "downloading a snapshot", importer.StageCopy: "copying",
	importer.StageLeases: "asking for leases", importer.StageVerify: "comparing",
}

func (r *importRun) options() importer.Options {
	return importer.Options{Logger: r.logger, Progress: r.progress, DryRun: r.config.dryRun}
}

// ofSource names the flag that an error of a copy is about, unless explain does.
func ofSource(err error) error {
	if err == nil || errors.Is(err, logstructured.ErrImportTarget) || errors.Is(err, importer.ErrNeedsUser) {
		return err
	}
	return fmt.Errorf("--source: %w", err)
}
