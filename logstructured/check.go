package logstructured

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Problem is something in a log that must not be there, or is missing.
type Problem struct {
	// Position is that of the entry where it was noticed, 0 if it is of none.
	Position Position
	Text     string
}

func (p Problem) String() string {
	if p.Position == 0 {
		return p.Text
	}
	return fmt.Sprintf("position %d: %s", p.Position, p.Text)
}

// CheckResult is what [Check] saw.
type CheckResult struct {
	// Entries in the log, Keys that live, Leases that were granted and not revoked.
	Entries, Keys, Leases int
	Revision              Revision
	CompactRevision       Revision
	// Problems is their number, those included that were not reported.
	Problems int
}

// maxProblems is how many problems are reported: one that everything follows from is enough.
const maxProblems = 100

// Check reads a whole log without its values and reports what breaks its invariants. Other processes may append meanwhile: it looks at one snapshot. retention is the one
// with which the log is served (0: the default), for rows that should have been deleted.
func Check(ctx context.Context, log Log, retention time.Duration, report func(Problem)) (*CheckResult, error) {
	c := &checker{
		state: newState(), report: report,
		newest: map[string]*row{}, granted: map[LeaseID]bool{}, keys: map[LeaseID]int{}, supersededAt: map[Revision]int{},
	}
	end, err := log.Scan(ctx, 0, func(entries []Entry) error {
		for i := range entries {
			c.entry(&entries[i])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	if err := c.state.unfinishedImport(); err != nil {
		return nil, err
	}
	c.end(end, retention)
	result := &CheckResult{
		Entries: c.entries, Leases: len(c.granted), Problems: c.problems,
		Revision: c.revision, CompactRevision: c.state.compact,
	}
	for _, r := range c.newest {
		if !r.tombstone() {
			result.Keys++
		}
	}
	return result, nil
}

// checker follows a log entry by entry. Compaction, recovery and lease mode it leaves to a state; keys it keeps itself, because a state takes what it is given.
type checker struct {
	state    *state
	report   func(Problem)
	entries  int
	problems int

	at       Position
	previous Entry
	// revision is the current one, and writes how many entries of keys it has so far. jumped tells that it has none and never will.
	revision Revision
	writes   int64
	jumped   bool
	newest   map[string]*row
	// granted are the leases of mode etcd, and keys the number of live keys that name a lease.
	granted map[LeaseID]bool
	keys    map[LeaseID]int
	// gaps are the last positions of those that are missing, and jumps the revisions that are not the next one.
	gaps  []Position
	jumps []jump
	// pasts are the rows of a key's history of which the beginning is not there.
	pasts []Position
	// strays are writes with a lease that was not granted before them, and imported the position at which an import ended: leases that had
	// ended in the source are named in its history only.
	strays   []stray
	imported Position
	// supersededAt counts rows by the revision that superseded them.
	supersededAt map[Revision]int
	compactions  []compaction
}

type jump struct {
	at       Position
	from, to Revision
}

type stray struct {
	at    Position
	lease LeaseID
}

type compaction struct {
	revision Revision
	at       Timestamp
}

func (c *checker) problem(format string, args ...any) {
	c.problems++
	if c.problems <= maxProblems {
		c.report(Problem{c.at, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) entry(e *Entry) {
	c.at = e.Position
	if err := e.known(); err != nil {
		c.problem("%v", err)
		return
	}
	switch {
	case e.Position <= c.previous.Position:
		c.problem("comes after position %d", c.previous.Position)
	case e.Position > c.previous.Position+1:
		c.gaps = append(c.gaps, e.Position-1)
	}
	if e.ID == 0 {
		c.problem("has no append ID")
	}
	if e.ID == c.previous.ID && e.Time != c.previous.Time {
		c.problem("has another time than the entry before it, of the same append")
	}
	if e.Kind == KindPut || e.Kind == KindTombstone {
		c.key(e)
	} else {
		c.control(e)
	}
	c.entries++
	c.previous = *e
}

func (c *checker) key(e *Entry) {
	switch {
	case len(e.Key) == 0:
		c.problem("has no key")
	case e.Revision < c.revision:
		c.problem("has revision %d, after %d", e.Revision, c.revision)
	case e.Revision == c.revision && c.writes > 0:
		if e.Sub < c.writes {
			c.problem("has sub-revision %d of revision %d, after %d", e.Sub, e.Revision, c.writes-1)
		}
	case e.Revision == c.revision && c.jumped:
		c.problem("has revision %d, which was jumped over", e.Revision)
	case e.Revision != max(c.revision, 1)+1:
		c.jumps = append(c.jumps, jump{e.Position, c.revision, e.Revision})
	}
	c.revision, c.writes, c.jumped = e.Revision, e.Sub+1, false

	name := string(e.Key)
	r := newRow(e)
	former := c.newest[name]
	if former != nil {
		c.supersededAt[e.Revision]++
		if former.tombstone() {
			former = nil
		}
	}
	switch {
	case e.Kind == KindPut:
		c.put(e, former, c.newest[name] != nil)
	case former == nil && c.newest[name] != nil:
		c.problem("deletes a key that is deleted")
	case e.Version != 0 || e.CreateRevision != 0 || e.Lease != 0:
		c.problem("deletes a key, and has a version, a create revision or a lease")
	}
	c.newest[name] = r
	if former != nil {
		c.keys[former.lease]--
	}
	c.keys[e.Lease]++
}

// put compares a put with the row that it supersedes, nil if the key did not live; known tells whether the key has been seen.
func (c *checker) put(e *Entry, former *row, known bool) {
	switch {
	case former != nil && (e.Version != former.version+1 || e.CreateRevision != former.create):
		c.problem("has version %d and create revision %d, after %d and %d", e.Version, e.CreateRevision, former.version, former.create)
	case former == nil && known && (e.Version != 1 || e.CreateRevision != e.Revision):
		c.problem("creates a key with version %d and create revision %d at revision %d", e.Version, e.CreateRevision, e.Revision)
	case !known && e.Version == 1 && e.CreateRevision != e.Revision:
		c.problem("creates a key with create revision %d at revision %d", e.CreateRevision, e.Revision)
	case !known && (e.Version < 1 || e.CreateRevision < 1 || e.CreateRevision > e.Revision):
		c.problem("has version %d and create revision %d at revision %d", e.Version, e.CreateRevision, e.Revision)
	case !known && e.Version > 1:
		c.pasts = append(c.pasts, e.Position)
	}
	switch mode := c.state.mode; {
	case e.Lease == 0:
	case mode == LeaseModeTTL && (e.Lease < 0 || e.Lease > MaxLeaseTTL):
		c.problem("has lease %d, which is no TTL", e.Lease)
	case mode == LeaseModeEtcd && !c.granted[e.Lease]:
		c.strays = append(c.strays, stray{e.Position, e.Lease})
	}
}

func (c *checker) control(e *Entry) {
	switch e.Kind {
	case KindCompaction:
		if e.Revision > max(c.revision, 1) && len(c.gaps) == 0 {
			c.problem("compacts revision %d, beyond %d", e.Revision, c.revision)
		}
		c.revision = max(c.revision, e.Revision)
		c.compactions = append(c.compactions, compaction{e.Revision, e.Time})
	case KindRecovery:
		if e.Revision <= c.revision {
			c.problem("recovers to revision %d, after %d", e.Revision, c.revision)
		}
		c.revision, c.writes, c.jumped = e.Revision, 0, false
		c.compactions = append(c.compactions, compaction{e.Revision, e.Time})
	case KindLease:
		if e.Version != 0 {
			c.granted[e.Lease] = true
			break
		}
		if n := c.keys[e.Lease]; n > 0 && c.state.mode == LeaseModeEtcd {
			c.problem("revokes lease %d, to which %d keys belong", e.Lease, n)
		}
		delete(c.granted, e.Lease)
	case KindRecord:
		if string(e.Key) == recordImport {
			c.imported = e.Position
		}
	case KindJump:
		if e.Revision <= c.revision {
			c.problem("jumps to revision %d, after %d", e.Revision, c.revision)
		}
		c.revision, c.writes, c.jumped = max(c.revision, e.Revision), 0, true
	case KindRenewal:
		if len(e.Value)%8 != 0 || len(e.Value) == 0 {
			c.problem("keeps leases alive in %d bytes", len(e.Value))
		}
	}
	c.state.apply(e)
}

// end looks at what only the whole log tells.
func (c *checker) end(end End, retention time.Duration) {
	compact := c.state.compact
	for _, j := range c.jumps {
		// What was superseded up to the compact revision may be gone, whole revisions too.
		if j.to > max(j.from, 1)+1 && j.to > compact+1 {
			c.at = j.at
			c.problem("has revision %d, after %d: what is between is missing", j.to, max(j.from, 1))
		}
	}
	for _, missing := range c.gaps {
		if missing > end.Floor {
			c.at = missing
			c.problem("is missing, beyond the deletion floor %d", end.Floor)
		}
	}
	for _, at := range c.pasts {
		if compact < 0 {
			c.at = at
			c.problem("has a history that is not there, but nothing was compacted")
		}
	}
	for _, s := range c.strays {
		// A lease that was revoked later may be deleted, before the floor.
		if s.at > max(end.Floor, c.imported) {
			c.at = s.at
			c.problem("has lease %d, which was not granted", s.lease)
		}
	}
	c.at = 0
	if head := (Head{c.previous.Position, c.previous.ID}); head != end.Head {
		c.problem("the log's end is said to be %s, and is %s", end.Head, head)
	}
	if end.Floor > end.Position {
		c.problem("the deletion floor %d is beyond the end %d", end.Floor, end.Position)
	}
	if end.ClusterID == 0 {
		c.problem("the cluster ID is 0")
	}
	if c.state.mode == LeaseModeEtcd {
		for _, id := range slices.Sorted(maps.Keys(c.keys)) {
			if n := c.keys[id]; id != 0 && n > 0 && !c.granted[id] {
				c.problem("%d keys belong to lease %d, which is not there", n, id)
			}
		}
	}
	c.overdue(end, retention)
}

// deletionGrace is how long after its retention a row may still be there: deleting takes time, and begins anew after a restart.
const deletionGrace = 10 * time.Minute

// overdue counts the rows that nobody may read and that should be gone.
func (c *checker) overdue(end End, retention time.Duration) {
	if retention == 0 {
		retention = defaultCompactRetention
	}
	for _, past := range slices.Backward(c.compactions) {
		if end.Now.Time().Sub(past.at.Time()) < retention+deletionGrace {
			continue
		}
		rows := 0
		for revision, n := range c.supersededAt {
			if revision <= past.revision {
				rows += n
			}
		}
		if rows > 0 {
			c.problem("%d rows of what was compacted at %s are still there", rows, past.at.Time().UTC().Format(time.DateTime))
		}
		return
	}
}
