package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// source is a history that can be imported.
type source interface {
	io.Closer
	// name says what it is, for people. An interrupted import goes on only from a source of the same name.
	name() string
	// outline looks at it, in no more time than counting takes.
	outline(ctx context.Context) (outline, error)
	// read calls fn with all writes in the order of their revisions, from one snapshot, and returns what else that holds.
	read(ctx context.Context, fn func(log.Entry) error) (*contents, error)
}

// outline is what a source holds at one moment. If it is the same later, nothing was written in between.
type outline struct {
	rows              int64
	revision, compact logstructured.Revision
}

// contents are what a source holds beside its writes, and about them.
type contents struct {
	outline
	keys, writes int
	// leases are those of --lease-mode=etcd.
	leases []logstructured.LeaseGrantResult
	notes  []string
}

// importFrom imports, or with --dry-run says what an import would do.
func (t *tool) importFrom(ctx context.Context, c *importConfig) (err error) {
	logger, err := t.log.logger(t.stderr)
	if err != nil {
		return err
	}
	if err := errors.Join(c.check(), t.database.check()); err != nil {
		return err
	}
	if copies[c.from] != nil {
		return t.copyFrom(ctx, c, logger)
	}
	src, err := sources[c.from](ctx, t, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	began := time.Now()
	if c.dryRun {
		read, err := t.dryRun(ctx, logger, src)
		if err == nil {
			err = t.report(fmt.Sprintf("%s can be imported into %s; nothing was changed", src.name(), t.name()), read)
		}
		return err
	}
	t.database.besideKine = true
	database, _, err := t.create(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	run := &importRun{tool: t, log: logger, source: src, database: database, mode: logstructured.LeaseMode(c.leaseMode), quiet: c.quiet}
	read, err := run.run(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: run the same command again, and it goes on where it stopped: %w", err)
		}
		return err
	}
	took := time.Since(began).Round(100 * time.Millisecond)
	return t.report(fmt.Sprintf("%s was imported into %s in %v, and compared with what is there now", src.name(), t.name(), took), read)
}

// report says what was imported.
func (t *tool) report(headline string, c *contents) error {
	_, err := fmt.Fprintf(t.stdout, "%s: %d writes, %d keys, revision %d, compact revision %d\n", headline, c.writes, c.keys, c.revision, c.compact)
	for _, note := range c.notes {
		if err == nil {
			_, err = fmt.Fprintf(t.stdout, "  %s\n", note)
		}
	}
	return err
}

// dryRun reads the source once.
func (t *tool) dryRun(ctx context.Context, logger *logrus.Entry, src source) (*contents, error) {
	before, err := src.outline(ctx)
	if err != nil {
		return nil, err
	}
	p := newProgress(t.stderr, logger, "reading", before.rows)
	defer p.end()
	n := int64(0)
	return src.read(ctx, func(log.Entry) error {
		n++
		p.set(n)
		return nil
	})
}

// importRun is one attempt.
type importRun struct {
	*tool
	log      *logrus.Entry
	source   source
	database log.Log
	mode     logstructured.LeaseMode
	// quiet is how long the source must not have changed.
	quiet time.Duration
}

// errWritten means that the source changes while it is read.
var errWritten = errors.New("was written while it was imported: stop what serves it, and run the same command again")

func (r *importRun) run(ctx context.Context) (*contents, error) {
	looked := time.Now()
	before, err := r.source.outline(ctx)
	if err != nil {
		return nil, err
	}
	var copied *progress
	m, err := logstructured.StartImport(ctx, r.database, logstructured.ImportOptions{
		Source: r.source.name(), LeaseMode: r.mode, CompactRevision: before.compact,
		Progress: func(writes int, _ logstructured.Revision) { copied.set(int64(writes)) },
	})
	if errors.Is(err, logstructured.ErrImportTarget) {
		return nil, fmt.Errorf("--endpoint: %w (if its content is not needed, drop its tables stele_* or delete the file)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--endpoint: %w", err)
	}
	if reached := m.Reached(); reached.Revision > 0 {
		r.log.WithField("revision", reached.Revision).Info("resuming an import that was interrupted")
	}
	copied = newProgress(r.stderr, r.log, "importing", before.rows)
	first, err := r.copy(ctx, m)
	copied.end()
	copied = nil
	if err != nil {
		return nil, err
	}
	if before != first.outline {
		return nil, fmt.Errorf("%s %w", r.source.name(), errWritten)
	}
	select {
	case <-time.After(time.Until(looked.Add(r.quiet))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	second, err := r.verify(ctx, m, first)
	if err != nil {
		return nil, err
	}
	end := logstructured.ImportEnd{Revision: second.revision, CompactRevision: second.compact}
	if r.mode == logstructured.LeaseModeEtcd {
		end.Leases = second.leases
	}
	return second, m.Finish(ctx, end)
}

// The bounds of what the reading of the source is ahead of the writing.
const (
	aheadBatches = 8
	aheadWrites  = 512
	aheadBytes   = 1 << 20
)

// copy writes while it reads.
func (r *importRun) copy(ctx context.Context, m *logstructured.Import) (*contents, error) {
	batches := make(chan []log.Entry, aheadBatches)
	var read *contents
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer close(batches)
		read, err = r.readBatches(both, batches)
		return err
	})
	group.Go(func() error {
		for batch := range batches {
			for i := range batch {
				if err := m.Write(both, batch[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return read, m.Flush(ctx)
}

// readBatches reads the source once and sends what it holds.
func (r *importRun) readBatches(ctx context.Context, batches chan<- []log.Entry) (*contents, error) {
	var batch []log.Entry
	size := 0
	send := func() error {
		select {
		case batches <- batch:
			batch, size = nil, 0
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	read, err := r.source.read(ctx, func(e log.Entry) error {
		batch = append(batch, e)
		if size += len(e.Key) + len(e.Value); len(batch) == aheadWrites || size >= aheadBytes {
			return send()
		}
		return nil
	})
	if err == nil {
		err = send()
	}
	return read, err
}

// verify reads both sides anew and compares them. It returns what the source holds.
func (r *importRun) verify(ctx context.Context, m *logstructured.Import, first *contents) (second *contents, err error) {
	p := newProgress(r.stderr, r.log, "comparing", int64(first.writes))
	defer p.end()
	var got logstructured.Digest
	want := logstructured.NewDigester(first.compact)
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		got, err = m.Digest(both, first.compact, func(n int) { p.set(int64(n)) })
		return err
	})
	group.Go(func() (err error) {
		second, err = r.source.read(both, func(e log.Entry) error {
			want.Add(&e)
			return nil
		})
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if first.outline != second.outline {
		return nil, fmt.Errorf("%s %w", r.source.name(), errWritten)
	}
	if sum := want.Digest(); got != sum {
		return nil, fmt.Errorf("--endpoint: what was imported is not what %s holds: %d keys and %d writes, and there %d and %d, or other values; "+
			"it was changed since the import began: empty the database --endpoint and begin anew", r.source.name(), got.Keys, got.Writes, sum.Keys, sum.Writes)
	}
	return second, nil
}
