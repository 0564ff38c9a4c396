package logstructured

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// ImportOptions describe an import.
type ImportOptions struct {
	// Source names the source, for people and without credentials. An interrupted import can be continued only from the
	// same source.
	Source string
	// LeaseMode is the lease mode of the log from now on; empty means [LeaseModeTTL].
	LeaseMode LeaseMode
	// CompactRevision is the source's, as far as known at the start. Revisions up to it may be missing. Missing
	// revisions above it become jumps.
	CompactRevision Revision
	// Progress, if not nil, is called after each append with the number of writes in the log and the newest of their
	// revisions. The number includes the writes of an earlier attempt that the caller passed again.
	Progress func(writes int, revision Revision)
}

// Import writes a history with its revisions into an empty log. Its methods must not be called concurrently. Until
// Finish has returned, only another StartImport can open the log, and it continues where this one was interrupted.
type Import struct {
	log    log.Log
	opts   ImportOptions
	tag    replicaTag
	head   log.Head
	writes int
	// revision and sub are those of the newest write in the log or in batch.
	revision Revision
	sub      int64
	// reached is the newest write that was in the log at the start.
	reached ImportPoint

	batch []log.Entry
	size  int
}

// ImportPoint is a place in a history. Its zero value is before the beginning.
type ImportPoint struct {
	Revision Revision
	Sub      int64
}

// before reports whether p comes before q.
func (p ImportPoint) before(q ImportPoint) bool {
	return p.Revision < q.Revision || p.Revision == q.Revision && p.Sub < q.Sub
}

// The bounds of one append of an import.
const (
	maxImportEntries = 8192
	maxImportBytes   = 4 << 20
	// importAttempts is how often an append is tried while the database fails, which takes about a minute.
	importAttempts = 60
)

// StartImport begins an import into an empty log, or continues one. The caller closes the log. StartImport returns
// [ErrImportTarget] if the log holds anything else.
func StartImport(ctx context.Context, l log.Log, opts ImportOptions) (*Import, error) {
	if opts.LeaseMode == "" {
		opts.LeaseMode = LeaseModeTTL
	}
	if err := opts.LeaseMode.Valid(); err != nil {
		return nil, err
	}
	if opts.Source == "" {
		return nil, errors.New("logstructured: ImportOptions.Source is required")
	}
	m := &Import{log: l, opts: opts, tag: newReplicaTag()}
	started, mode, err := m.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if mode != opts.LeaseMode && m.head != (log.Head{}) {
		return nil, fmt.Errorf("%w: it has lease mode %s, and the import has %s", ErrImportTarget, mode, opts.LeaseMode)
	}
	if started {
		return m, nil
	}
	var first []log.Entry
	if mode != opts.LeaseMode {
		first = append(first, recordEntry(1, recordLeaseMode, []byte(opts.LeaseMode)))
	}
	first = append(first, recordEntry(1, recordImport, []byte(opts.Source)))
	if err := m.append(ctx, first); err != nil {
		return nil, fmt.Errorf("%w (begin the import)", err)
	}
	return m, nil
}

// inspect returns whether the log is empty, holds the beginning of this import, or holds something else.
func (m *Import) inspect(ctx context.Context) (started bool, mode LeaseMode, err error) {
	mode = LeaseModeTTL
	var source string
	end, err := m.log.Scan(ctx, 0, func(entries []log.Entry) error {
		for i := range entries {
			switch e := &entries[i]; {
			case !started && e.Kind == log.KindRecord && string(e.Key) == recordLeaseMode:
				mode = LeaseMode(e.Value)
			case !started && e.Kind == log.KindRecord && string(e.Key) == recordImport:
				started, source = true, string(e.Value)
			case started && (e.Kind == log.KindPut || e.Kind == log.KindTombstone):
				m.revision, m.sub = e.Revision, e.Sub
			case started && e.Kind == log.KindJump:
			default: // the end of an import, for example
				return fmt.Errorf("%w: it is not empty", ErrImportTarget)
			}
		}
		return nil
	})
	if err == nil && started && source != m.opts.Source {
		err = fmt.Errorf("%w: it holds an unfinished import from %s, and this one is from %s: "+
			"run that one again, or empty the database", ErrImportTarget, source, m.opts.Source)
	}
	m.head, m.reached = end.Head, ImportPoint{m.revision, m.sub}
	return started, mode, err
}

// Reached returns the newest write that the log held when the import was started, the zero ImportPoint if none. The
// caller need not pass the writes up to it again; Write skips them.
func (m *Import) Reached() ImportPoint { return m.reached }

// Write adds a put or a tombstone, with Revision, Sub, CreateRevision, Version and Lease as they are in the source, in
// increasing order of revision and sub-revision. It may keep e's key and value. In [LeaseModeTTL] every lease must be a
// TTL.
func (m *Import) Write(ctx context.Context, e log.Entry) error {
	at := ImportPoint{e.Revision, e.Sub}
	if m.reached.Revision > 0 && !m.reached.before(at) {
		m.writes++
		return nil
	}
	if err := m.check(&e); err != nil {
		return err
	}
	if e.Revision > max(m.revision, m.opts.CompactRevision, 1)+1 {
		m.add(log.Entry{Kind: log.KindJump, Revision: e.Revision - 1})
	}
	m.add(e)
	m.revision, m.sub = e.Revision, e.Sub
	m.writes++
	if len(m.batch) >= maxImportEntries || m.size >= maxImportBytes {
		return m.Flush(ctx)
	}
	return nil
}

// errImport means that the source passed an invalid history.
var errImport = errors.New("cannot import")

func (m *Import) check(e *log.Entry) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: revision %d, sub-revision %d: %s",
			errImport, e.Revision, e.Sub, fmt.Sprintf(format, args...))
	}
	switch {
	case e.Kind != log.KindPut && e.Kind != log.KindTombstone:
		return wrong("kind %d is neither a put nor a tombstone", e.Kind)
	case e.Revision < 1 || e.Sub < 0:
		return wrong("is no revision")
	case m.revision > 0 && !(ImportPoint{m.revision, m.sub}).before(ImportPoint{e.Revision, e.Sub}):
		return wrong("comes after revision %d, sub-revision %d", m.revision, m.sub)
	case len(e.Key) == 0:
		return wrong("has no key")
	case e.Kind == log.KindTombstone && (e.CreateRevision != 0 || e.Version != 0 || e.Lease != 0 || len(e.Value) != 0):
		return wrong("a tombstone has more than a key")
	case e.Kind == log.KindPut && (e.Version < 1 || e.CreateRevision < 1 || e.CreateRevision > e.Revision):
		return wrong("has version %d and create revision %d", e.Version, e.CreateRevision)
	case m.opts.LeaseMode == LeaseModeTTL && (e.Lease < 0 || e.Lease > MaxLeaseTTL):
		return wrong("lease %d is no TTL", e.Lease)
	}
	return nil
}

func (m *Import) add(e log.Entry) {
	m.batch = append(m.batch, e)
	m.size += len(e.Key) + len(e.Value)
}

// Flush appends the writes that Write has gathered.
func (m *Import) Flush(ctx context.Context) error {
	if len(m.batch) > 0 {
		if err := m.append(ctx, m.batch); err != nil {
			return err
		}
		clear(m.batch)
		m.batch, m.size = m.batch[:0], 0
	}
	if m.opts.Progress != nil {
		m.opts.Progress(m.writes, m.revision)
	}
	return nil
}

// ImportEnd is the state with which an import ends, besides the writes.
type ImportEnd struct {
	// Revision is the current revision. CompactRevision is the compact revision, 0 or less if nothing was compacted.
	Revision        Revision
	CompactRevision Revision
	// Leases are granted when the import ends, so that their TTLs begin then; only in [LeaseModeEtcd].
	Leases []LeaseGrantResult
	// Records is the state besides the keys.
	Records []RecordChange
}

// Finish ends the import, in one append: from then on the log can be opened. The caller first verifies
// with HashKV that the log holds the right content.
func (m *Import) Finish(ctx context.Context, end ImportEnd) error {
	if err := m.Flush(ctx); err != nil {
		return err
	}
	if end.Revision < max(m.revision, 1) || end.CompactRevision > end.Revision {
		return fmt.Errorf("%w: current revision %d and compact revision %d, after revision %d",
			errImport, end.Revision, end.CompactRevision, m.revision)
	}
	if len(end.Leases) > 0 && m.opts.LeaseMode != LeaseModeEtcd {
		return fmt.Errorf("%w: lease mode %s stores no leases", errImport, m.opts.LeaseMode)
	}
	var last []log.Entry
	if end.Revision > max(m.revision, 1) {
		last = append(last, log.Entry{Kind: log.KindJump, Revision: end.Revision})
	}
	if end.CompactRevision > 0 {
		last = append(last, log.Entry{Kind: log.KindCompaction, Revision: end.CompactRevision})
	}
	for _, l := range end.Leases {
		last = append(last, log.Entry{Kind: log.KindLease, Revision: end.Revision, Lease: l.ID, Version: l.TTL})
	}
	for _, r := range end.Records {
		last = append(last, recordEntry(end.Revision, r.Name, r.Value))
	}
	last = append(last, log.Entry{Kind: log.KindRecord, Revision: end.Revision, Key: []byte(recordImport)})
	if err := m.append(ctx, last); err != nil {
		return fmt.Errorf("%w (end the import)", err)
	}
	return nil
}

// append appends after the head, and retries while the database fails.
func (m *Import) append(ctx context.Context, entries []log.Entry) error {
	id := newAppendID(m.tag)
	for attempt := 0; ; attempt++ {
		err := m.log.Append(ctx, m.head, id, entries)
		if errors.Is(err, log.ErrConflict) && attempt > 0 {
			err = m.confirm(ctx, id, len(entries))
		}
		if err == nil {
			m.head = headAfter(m.head, id, entries)
			return nil
		}
		if errors.Is(err, log.ErrConflict) {
			return fmt.Errorf("%w: something else writes to it: %w", ErrImportTarget, err)
		}
		for _, final := range []error{
			log.ErrNoSpace, log.ErrReadOnly, log.ErrCorrupt, log.ErrSyncFailed, log.ErrTooLarge,
		} {
			if errors.Is(err, final) {
				return err
			}
		}
		if attempt == importAttempts || ctx.Err() != nil {
			return err
		}
		pause(ctx, backoff(attempt))
	}
}

// confirm returns nil if an earlier attempt of an append took effect and is durable, and otherwise [log.ErrConflict].
func (m *Import) confirm(ctx context.Context, id log.AppendID, n int) error {
	next, _, err := m.log.Read(ctx, m.head.Position, 1)
	switch {
	case err != nil:
		return err
	case len(next) == 0 || next[0].Position != m.head.Position+1 || next[0].ID != id:
		return log.ErrConflict
	}
	return m.log.Confirm(ctx, log.Head{Position: m.head.Position + log.Position(n), ID: id})
}
