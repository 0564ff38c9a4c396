package logstructured

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stele-db/stele/logstructured/log"
)

// ImportOptions say what an import copies.
type ImportOptions struct {
	// Source names what is copied, for people and without credentials. An import that was interrupted goes on only from
	// the same one.
	Source string
	// LeaseMode is that of the log from now on; empty is [LeaseModeTTL].
	LeaseMode LeaseMode
	// CompactRevision of the source as far as it is known at the start: revisions up to it may be missing, and those
	// that are missing above it are jumped over.
	CompactRevision Revision
	// Progress, if not nil, is called after each append with the number of writes that are in the log, those of an
	// earlier attempt that were handed over again included, and the newest of their revisions.
	Progress func(writes int, revision Revision)
}

// Import writes a history with its revisions into an empty log. Its methods must not be called concurrently. Until
// Finish has returned, the log can be opened by nobody but another StartImport, which goes on where this one was
// interrupted.
type Import struct {
	log    log.Log
	opts   ImportOptions
	tag    replicaTag
	head   log.Head
	writes int
	// revision and sub are those of the newest write that is in the log or in batch. jumped tells that revision has no
	// write.
	revision Revision
	sub      int64
	// reached is what was in the log at the start.
	reached ImportPoint

	batch []log.Entry
	size  int
}

// ImportPoint is a place in a history. Its zero value is before the beginning.
type ImportPoint struct {
	Revision Revision
	Sub      int64
}

// before tells whether p comes before q.
func (p ImportPoint) before(q ImportPoint) bool {
	return p.Revision < q.Revision || p.Revision == q.Revision && p.Sub < q.Sub
}

// The bounds of one append of an import.
const (
	maxImportEntries = 8192
	maxImportBytes   = 4 << 20
	// importAttempts is how often an append is tried while the database fails: about a minute.
	importAttempts = 60
)

// StartImport begins an import into an empty log, or goes on with one. The caller keeps log, and closes it.
// [ErrImportTarget] says that the log holds something else.
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
	began, mode, err := m.look(ctx)
	if err != nil {
		return nil, err
	}
	if mode != opts.LeaseMode && m.head != (log.Head{}) {
		return nil, fmt.Errorf("%w: its leases are of mode %s, and %s is asked for", ErrImportTarget, mode, opts.LeaseMode)
	}
	if began {
		return m, nil
	}
	var first []log.Entry
	if mode != opts.LeaseMode {
		first = append(first, log.Entry{Kind: log.KindRecord, Revision: 1, Key: []byte(recordLeaseMode), Value: []byte(opts.LeaseMode), Version: 1})
	}
	first = append(first, log.Entry{Kind: log.KindRecord, Revision: 1, Key: []byte(recordImport), Value: []byte(opts.Source), Version: 1})
	if err := m.append(ctx, first); err != nil {
		return nil, fmt.Errorf("%w (begin the import)", err)
	}
	return m, nil
}

// look finds out what is in the log: nothing, the beginning of this import, or something else.
func (m *Import) look(ctx context.Context) (began bool, mode LeaseMode, err error) {
	mode = LeaseModeTTL
	var source string
	end, err := m.log.Scan(ctx, 0, func(entries []log.Entry) error {
		for i := range entries {
			switch e := &entries[i]; {
			case !began && e.Kind == log.KindRecord && string(e.Key) == recordLeaseMode:
				mode = LeaseMode(e.Value)
			case !began && e.Kind == log.KindRecord && string(e.Key) == recordImport:
				began, source = true, string(e.Value)
			case began && (e.Kind == log.KindPut || e.Kind == log.KindTombstone):
				m.revision, m.sub = e.Revision, e.Sub
			case began && e.Kind == log.KindJump:
			default: // the end of an import, for example
				return fmt.Errorf("%w: it is not empty", ErrImportTarget)
			}
		}
		return nil
	})
	if err == nil && began && source != m.opts.Source {
		err = fmt.Errorf("%w: it holds an unfinished import from %s, and this one is from %s: run that one again, or empty the database",
			ErrImportTarget, source, m.opts.Source)
	}
	m.head, m.reached = end.Head, ImportPoint{m.revision, m.sub}
	return began, mode, err
}

// Reached is the newest write that the log held when the import was started, the zero ImportPoint if none. What is up
// to there need not be handed over again, and is passed over if it is.
func (m *Import) Reached() ImportPoint { return m.reached }

// Write adds a put or a tombstone, with Revision, Sub, CreateRevision, Version and Lease as they are in the source, in
// increasing order of revision and sub-revision. It may keep e's key and value. [LeaseModeTTL] takes only leases that
// are TTLs.
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

// errImport is what a source must not hand over.
var errImport = errors.New("cannot import")

func (m *Import) check(e *log.Entry) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: revision %d, sub-revision %d: %s", errImport, e.Revision, e.Sub, fmt.Sprintf(format, args...))
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

// Flush appends what Write has gathered.
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

// ImportEnd is what an import leaves beside the writes.
type ImportEnd struct {
	// Revision is the current revision, CompactRevision the compact one; 0 or less if nothing was compacted.
	Revision        Revision
	CompactRevision Revision
	// Leases are granted now, so that their TTLs begin; only in [LeaseModeEtcd].
	Leases []LeaseGrantResult
	// Records are the state beside the keys.
	Records []RecordChange
}

// Finish ends the import, in one append: from then on the log can be opened. It is for the caller to verify before that
// the log holds what it should, by Digest or HashKV.
func (m *Import) Finish(ctx context.Context, end ImportEnd) error {
	if err := m.Flush(ctx); err != nil {
		return err
	}
	if end.Revision < max(m.revision, 1) || end.CompactRevision > end.Revision {
		return fmt.Errorf("%w: current revision %d and compact revision %d, after revision %d", errImport, end.Revision, end.CompactRevision, m.revision)
	}
	if len(end.Leases) > 0 && m.opts.LeaseMode != LeaseModeEtcd {
		return fmt.Errorf("%w: leases of their own into lease mode %s", errImport, m.opts.LeaseMode)
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
		last = append(last, log.Entry{Kind: log.KindRecord, Revision: end.Revision, Key: []byte(r.Name), Value: r.Value, Version: 1})
	}
	last = append(last, log.Entry{Kind: log.KindRecord, Revision: end.Revision, Key: []byte(recordImport)})
	if err := m.append(ctx, last); err != nil {
		return fmt.Errorf("%w (end the import)", err)
	}
	return nil
}

// append appends after the head, and tries again while the database fails.
func (m *Import) append(ctx context.Context, entries []log.Entry) error {
	id := newAppendID(m.tag)
	for attempt := 0; ; attempt++ {
		err := m.log.Append(ctx, m.head, id, entries)
		if errors.Is(err, log.ErrConflict) && attempt > 0 {
			err = m.appended(ctx, id, len(entries))
		}
		if err == nil {
			m.head = after(m.head, id, entries)
			return nil
		}
		if errors.Is(err, log.ErrConflict) {
			return fmt.Errorf("%w: something else writes to it: %w", ErrImportTarget, err)
		}
		if attempt == importAttempts || ctx.Err() != nil ||
			slices.ContainsFunc([]error{log.ErrNoSpace, log.ErrReadOnly, log.ErrCorrupt, log.ErrSyncFailed, log.ErrTooLarge}, func(final error) bool { return errors.Is(err, final) }) {
			return err
		}
		pause(ctx, backoff(attempt))
	}
}

// appended returns nil if an append that was tried before had taken effect, durably, and otherwise [log.ErrConflict].
func (m *Import) appended(ctx context.Context, id log.AppendID, n int) error {
	next, _, err := m.log.Read(ctx, m.head.Position, 1)
	switch {
	case err != nil:
		return err
	case len(next) == 0 || next[0].Position != m.head.Position+1 || next[0].ID != id:
		return log.ErrConflict
	}
	return m.log.Confirm(ctx, log.Head{Position: m.head.Position + log.Position(n), ID: id})
}
