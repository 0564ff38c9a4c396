package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/pkg/tls"
	"github.com/stele-db/stele/transfer/importer"
	"github.com/stele-db/stele/transfer/snapshot"
)

// copyRun copies a source that has what a log has: revisions, sub-revisions, leases, users and roles.
type copyRun struct {
	*tool
	config *importConfig
	log    *logrus.Entry
	// bar is that of the stage under way.
	bar   *progress
	stage importer.Stage
	// told is when it was last told how far behind the source a copy is that follows.
	told time.Time
}

// copies are the kinds of sources that are copied as they are, by the value of --from.
var copies = map[string]func(r *copyRun, ctx context.Context, target log.Log) (*importer.Result, error){
	"etcd":  (*copyRun).etcd,
	"stele": (*copyRun).stele,
}

// copyFrom copies, or with --dry-run says what a copy would do.
func (t *tool) copyFrom(ctx context.Context, c *importConfig, logger *logrus.Entry) (err error) {
	if c.source == "" {
		return fmt.Errorf("--source is missing: %s", map[string]string{
			"etcd":  "write the URL of a running etcd, such as http://127.0.0.1:2379, or the path of a snapshot",
			"stele": "write the database to copy, as --endpoint has it",
		}[c.from])
	}
	if t.flags.Changed("lease-mode") {
		return fmt.Errorf("--lease-mode: --from=%s keeps the leases as they are; leave the flag out, and convert them afterwards by `stele lease-mode %s`", c.from, c.leaseMode)
	}
	if c.from == "stele" {
		if err := mustExist(c.source); err != nil {
			return fmt.Errorf("--source: %w", err)
		}
	}
	began := time.Now()
	r := &copyRun{tool: t, config: c, log: logger}
	var target log.Log
	if !c.dryRun {
		t.database.besideKine = true
		if target, _, err = t.create(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, target.Close()) }()
	}
	result, err := copies[c.from](r, ctx, target)
	r.bar.end()
	if err != nil {
		return r.explain(ctx, err)
	}
	return r.report(result, time.Since(began))
}

// explain says what to do about an error.
func (r *copyRun) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && !r.config.follow:
		return fmt.Errorf("interrupted: run the same command again, and it goes on where it stopped: %w", err)
	case errors.Is(err, importer.ErrNeedsUser):
		return fmt.Errorf("--user: %w, and give the password in %s or by --source-password-file", err, sourcePasswordVariable)
	case errors.Is(err, logstructured.ErrImportTarget):
		return fmt.Errorf("--endpoint: %w (if its content is not needed, drop its tables stele_* or delete the file)", err)
	case errors.Is(err, snapshot.ErrNoChecksum):
		return fmt.Errorf("--source: %w: it is a copy of an etcd's database, or is truncated; --skip-hash-check imports a copy without its hash", err)
	}
	return err
}

func (r *copyRun) report(result *importer.Result, took time.Duration) error {
	what := fmt.Sprintf("was copied into %s in %v, and has the same HashKV %d there", r.name(), took.Round(100*time.Millisecond), result.HashKV)
	if r.config.dryRun {
		what = fmt.Sprintf("can be copied into %s; nothing was changed", r.name())
	}
	_, err := fmt.Fprintf(r.stdout, "%s %s: revision %d, compact revision %d, keys: %d, leases: %d, users: %d, roles: %d\n",
		result.Source, what, result.Revision, result.CompactRevision, result.Keys, result.Leases, result.Users, result.Roles)
	if err == nil && result.LeaseMode == logstructured.LeaseModeEtcd {
		_, err = fmt.Fprintln(r.stdout, "  its leases are etcd's: start servers with --lease-mode=etcd, or run `stele lease-mode ttl` first")
	}
	if err == nil && result.Missed > 0 {
		_, err = fmt.Fprintf(r.stdout, "  THE SOURCE WAS WRITTEN SINCE: %d revisions are not in the copy\n", result.Missed)
	}
	return err
}

// progress shows a stage as it goes on.
func (r *copyRun) progress(p importer.Progress) {
	if p.Stage == importer.StageFollow {
		r.following(p)
		return
	}
	if p.Stage != r.stage {
		r.bar.end()
		r.stage, r.bar = p.Stage, newProgress(r.stderr, r.log, stages[p.Stage], p.Total)
	}
	r.bar.set(p.Done)
}

// following tells how far behind the source the copy is, which has no end to be seen.
func (r *copyRun) following(p importer.Progress) {
	r.bar.end()
	r.bar = nil
	if now := time.Now(); r.stage != p.Stage || now.Sub(r.told) >= progressEvery {
		r.stage, r.told = p.Stage, now
		r.log.WithFields(logrus.Fields{"revision": p.Done, "behind": p.Total - p.Done}).Info("following the source")
	}
}

var stages = map[importer.Stage]string{
	importer.StageDownload: "downloading a snapshot", importer.StageCopy: "copying",
	importer.StageLeases: "asking for leases", importer.StageVerify: "comparing",
}

func (r *copyRun) options() importer.Options {
	return importer.Options{Logger: r.log, Progress: r.progress, DryRun: r.config.dryRun}
}

// etcd copies a running etcd, or a snapshot.
func (r *copyRun) etcd(ctx context.Context, target log.Log) (*importer.Result, error) {
	if !strings.Contains(r.config.source, "://") || strings.HasPrefix(r.config.source, "file://") {
		return r.etcdSnapshot(ctx, target)
	}
	password, err := r.config.readPassword()
	if err != nil {
		return nil, err
	}
	user, inline, _ := strings.Cut(r.config.user, ":")
	if inline != "" {
		password = inline
	}
	config, err := tls.Config{
		CAFile: r.config.caCert, CertFile: r.config.cert, KeyFile: r.config.key, SkipVerify: r.config.skipTLSVerify,
	}.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--cacert, --cert, --key: %w; name readable PEM files that belong together", err)
	}
	opts := importer.LiveOptions{
		Options: r.options(), Server: importer.Server{URL: r.config.source, TLS: config, User: user, Password: password},
		Until: logstructured.Revision(r.config.untilRevision),
	}
	if r.config.follow {
		// The first signal ends the copy where the source then is; the second one ends the process.
		opts.CutOver = ctx.Done()
		ctx = context.WithoutCancel(ctx)
		r.log.Info("copying until SIGINT or SIGTERM: stop the clients that write to the source first, and wait until the copy is not behind")
	}
	result, err := importer.Live(ctx, target, opts)
	return result, ofSource(err)
}

// ofSource names the flag that an error of a copy is about.
func ofSource(err error) error {
	if err == nil || errors.Is(err, logstructured.ErrImportTarget) || errors.Is(err, importer.ErrNeedsUser) {
		return err
	}
	return fmt.Errorf("--source: %w", err)
}

func (r *copyRun) etcdSnapshot(ctx context.Context, target log.Log) (_ *importer.Result, err error) {
	if r.config.follow || r.config.untilRevision != 0 {
		return nil, errors.New("--follow and --until-revision are for a running etcd: write its URL as --source, such as http://127.0.0.1:2379")
	}
	f, err := snapshot.Open(strings.TrimPrefix(r.config.source, "file://"), snapshot.OpenOptions{AllowNoChecksum: r.config.skipHashCheck})
	if err != nil {
		return nil, fmt.Errorf("--source: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	result, err := importer.File(ctx, f, target, r.options())
	return result, ofSource(err)
}

// stele copies another database of Stele's.
func (r *copyRun) stele(ctx context.Context, target log.Log) (_ *importer.Result, err error) {
	connection, err := r.config.connection()
	if err != nil {
		return nil, err
	}
	source, err := drivers.Open(ctx, r.config.source, drivers.Options{Logger: r.log, Options: connection})
	if err != nil {
		return nil, fmt.Errorf("--source: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	result, err := importer.Log(ctx, source, target, r.options())
	if err != nil {
		return nil, ofSource(err)
	}
	result.Source = drivers.Describe(r.config.source)
	return result, nil
}
