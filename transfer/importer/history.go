package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
)

// History is a source that has no HashKV, such as kine's table. It can be read several times.
type History interface {
	// Name describes the source for operators. An interrupted import resumes only from a source of the same name.
	Name() string
	// Outline counts the rows of the source, without reading them.
	Outline(ctx context.Context) (Outline, error)
	// Read calls fn with all writes in the order of their revisions, and returns the other content of the source. Both
	// come from one snapshot of its database. An error of fn ends the reading and is returned.
	Read(ctx context.Context, fn func(log.Entry) error) (*Contents, error)
}

// Outline is the size of a history at one moment. Two equal outlines mean that the source was not written in between.
type Outline struct {
	Rows                      int64
	Revision, CompactRevision logstructured.Revision
}

// Contents is the content of a history other than its writes.
type Contents struct {
	Outline
	Keys, Writes int
	// Leases are the leases of a copy in mode etcd.
	Leases []logstructured.LeaseGrantResult
	// Notes describe for operators which rows were left out or translated.
	Notes []string
}

// HistoryOptions configure the copy of a history.
type HistoryOptions struct {
	Options
	// LeaseMode is the mode of the copy.
	LeaseMode logstructured.LeaseMode
	// Quiet is the time for which the source must not have changed. Programs that serve a cluster write every few
	// seconds.
	Quiet time.Duration
}

var (
	// ErrWritten means that the source was written during the copy.
	ErrWritten = errors.New("was written while it was imported")
	// ErrTargetChanged means that another program wrote to the target during the copy.
	ErrTargetChanged = errors.New("the target was changed since the import began")
)

// FromHistory copies a history, reads source and target again, and compares them.
func FromHistory(ctx context.Context, source History, target log.Log, opts HistoryOptions) (*Result, error) {
	h := &history{source: source, opts: opts}
	began := time.Now()
	before, err := source.Outline(ctx)
	if err != nil {
		return nil, err
	}
	if opts.DryRun {
		read, err := h.count(ctx, before)
		return h.result(read), err
	}
	h.copying, err = start(ctx, opts.Options, target, source.Name(), opts.LeaseMode, before.CompactRevision)
	if err != nil {
		return nil, err
	}
	h.total = before.Rows
	h.hash = hashkv.NewHistory(before.CompactRevision, before.Revision)
	first, err := h.copy(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.unchanged(before, first); err != nil {
		return nil, err
	}
	select {
	case <-time.After(time.Until(began.Add(opts.Quiet))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	second, err := h.compare(ctx, first)
	if err != nil {
		return nil, err
	}
	r := h.result(second)
	return r, h.finish(ctx, r, second.Leases, nil)
}

// history is the copy of a history.
type history struct {
	*copying
	source History
	opts   HistoryOptions
	// hash observes the source while it is copied, and hashes it when it is read again.
	hash *hashkv.History
}

func (h *history) result(c *Contents) *Result {
	if c == nil {
		return nil
	}
	return &Result{
		Source: h.source.Name(), LeaseMode: h.opts.LeaseMode, Revision: c.Revision, CompactRevision: c.CompactRevision,
		Keys: c.Keys, Writes: c.Writes, Leases: len(c.Leases), Notes: c.Notes,
	}
}

// count reads the source once.
func (h *history) count(ctx context.Context, before Outline) (*Contents, error) {
	n := int64(0)
	return h.source.Read(ctx, func(log.Entry) error {
		n++
		h.opts.progress(StageCopy, n, before.Rows)
		return nil
	})
}

// unchanged returns an error if the source was written between the outline and the reading.
func (h *history) unchanged(before Outline, read *Contents) error {
	if before != read.Outline {
		return fmt.Errorf("%s %w", h.source.Name(), ErrWritten)
	}
	return nil
}

// Bounds of the data that is read ahead of the writer.
const (
	aheadBatches = 8
	aheadWrites  = 512
	aheadBytes   = 1 << 20
)

// copy reads the source and writes the target at the same time.
func (h *history) copy(ctx context.Context) (*Contents, error) {
	batches := make(chan []log.Entry, aheadBatches)
	var read *Contents
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer close(batches)
		read, err = h.readBatches(both, batches)
		return err
	})
	group.Go(func() error {
		for batch := range batches {
			for i := range batch {
				if err := h.write(both, batch[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return read, h.target.Flush(ctx)
}

// readBatches reads the source and sends its writes to batches.
func (h *history) readBatches(ctx context.Context, batches chan<- []log.Entry) (*Contents, error) {
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
	read, err := h.source.Read(ctx, func(e log.Entry) error {
		h.hash.Observe(&e)
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

// compare reads source and target again and compares their hashes. It returns the contents of this reading.
func (h *history) compare(ctx context.Context, first *Contents) (second *Contents, err error) {
	var copied hashkv.Sums
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		copied, err = h.readBack(both, first.Revision, first.CompactRevision)
		return err
	})
	group.Go(func() (err error) {
		second, err = h.source.Read(both, func(e log.Entry) error { return h.hash.Add(&e) })
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := h.unchanged(first.Outline, second); err != nil {
		return nil, err
	}
	if want := h.hash.Sums(); copied != want {
		return nil, fmt.Errorf("what was imported is not what %s holds: "+
			"HashKV %d and %d at the current and the compact revision instead of %d and %d: %w",
			h.source.Name(), copied.Current, copied.Compacted, want.Current, want.Compacted, ErrTargetChanged)
	}
	return second, nil
}
