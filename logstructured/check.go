package logstructured

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// CheckResult is what [Check] saw.
type CheckResult struct {
	// Entries in the log, Keys that live, Leases that were granted and not revoked.
	Entries, Keys, Leases int
	Revision              Revision
	CompactRevision       Revision
	// Problems is their number, those included that were not reported.
	Problems int
	// WithoutChecksum are the entries without a checksum. Those of them that come after one with a checksum, which are
	// LaterWithoutChecksum, were written by an earlier version that ran beside or after one with checksums, unless they
	// are damaged.
	WithoutChecksum, LaterWithoutChecksum int
	// Records are the newest ones, whose values mean something to other packages.
	Records Records
}

// CheckOptions say how a log is served, and what to read of it.
type CheckOptions struct {
	// Retention is that with which the log is served (0: the default), for rows that should have been deleted.
	Retention time.Duration
	// Values reads all values too, and compares them with their checksums, and has a [log.Verifier] look at the
	// database.
	Values bool
}

// Check reads a whole log and reports what breaks its invariants. Other processes may append meanwhile: it looks at one
// snapshot.
func Check(ctx context.Context, l log.Log, opts CheckOptions, report func(Problem)) (*CheckResult, error) {
	c := &checker{
		state: newState(), show: report,
		newest: map[string]*row{}, granted: map[LeaseID]bool{}, keys: map[LeaseID]int{}, supersededAt: map[Revision]int{},
	}
	c.report = c.count
	end, err := l.Scan(ctx, 0, func(entries []log.Entry) error {
		for i := range entries {
			c.entry(&entries[i])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w (read the log)", err)
	}
	if err := c.state.unfinishedImport(); err != nil {
		return nil, err
	}
	c.end(end, opts.Retention)
	if opts.Values {
		if err := c.values(ctx, l, end.Position); err != nil {
			return nil, err
		}
		if v, ok := l.(log.Verifier); ok {
			problems, err := v.Verify(ctx)
			if err != nil {
				return nil, fmt.Errorf("%w (verify the database)", err)
			}
			for _, p := range problems {
				c.problem(0, "the database: %s", p)
			}
		}
	}
	result := &CheckResult{
		Entries: c.entries, Leases: len(c.granted), Problems: c.problems,
		Revision: c.revision, CompactRevision: c.state.compact, WithoutChecksum: c.unsealed, LaterWithoutChecksum: c.laggards,
		Records: Records{&c.state.control},
	}
	for _, r := range c.newest {
		if !r.tombstone() {
			result.Keys++
		}
	}
	return result, nil
}

// checker follows a log entry by entry. Compaction, recovery and lease mode it leaves to a state; keys it keeps itself,
// because a state takes what it is given.
type checker struct {
	rules
	state    *state
	show     func(Problem)
	entries  int
	problems int

	newest map[string]*row
	// granted are the leases of mode etcd, and keys the number of live keys that name a lease.
	granted map[LeaseID]bool
	keys    map[LeaseID]int
	// strays are writes with a lease that was not granted before them, and imported the position at which an import
	// ended: leases that had ended in the source are named in its history only.
	strays   []stray
	imported log.Position
	// supersededAt counts rows by the revision that superseded them.
	supersededAt map[Revision]int
	compactions  []compaction
	// sealed means that a row with a checksum came before, and unsealed counts the rows without one.
	sealed             bool
	unsealed, laggards int
}

type stray struct {
	at    log.Position
	lease LeaseID
}

type compaction struct {
	revision Revision
	at       log.Timestamp
}

// count takes a problem.
func (c *checker) count(p Problem) {
	c.problems++
	if c.problems <= maxProblems {
		c.show(p)
	}
}

func (c *checker) entry(e *log.Entry) {
	c.entries++
	if err := e.VerifyScanned(); err != nil {
		c.invalid(e.Position, err)
	} else if err := validate(e); err != nil {
		c.invalid(e.Position, err)
		return
	}
	switch {
	case e.Checksum != 0:
		c.sealed = true
	case c.sealed:
		c.laggards++
		fallthrough
	default:
		c.unsealed++
	}
	c.rules.entry(e, c.newest[string(e.Key)])
	if e.Kind == log.KindPut || e.Kind == log.KindTombstone {
		c.key(e)
	} else {
		c.control(e)
	}
}

// invalid takes what is wrong with one entry.
func (c *checker) invalid(at log.Position, err error) {
	var d *log.Damage
	if errors.As(err, &d) {
		c.problem(at, "is damaged: %s (revision %d, key %q)", d.How, d.Revision, d.Key)
		return
	}
	c.problem(at, "%v", err)
}

// values reads the log up to a position once more, and verifies the values of puts. Rows that are deleted meanwhile are
// no loss.
func (c *checker) values(ctx context.Context, l log.Log, end log.Position) error {
	for at := log.Position(0); at < end; {
		entries, _, err := l.Read(ctx, at, checkBatch)
		if err != nil {
			return fmt.Errorf("%w (read the values)", err)
		}
		if len(entries) == 0 {
			return nil
		}
		for i := range entries {
			e := &entries[i]
			if e.Kind == log.KindPut && e.VerifyMetadata() == nil {
				if err := e.Verify(); err != nil {
					c.invalid(e.Position, err)
				}
			}
		}
		at = entries[len(entries)-1].Position
	}
	return nil
}

// checkBatch is how many entries are read at once with their values.
const checkBatch = 1000

func (c *checker) key(e *log.Entry) {
	name := string(e.Key)
	if former := c.newest[name]; former != nil {
		c.supersededAt[e.Revision]++
		if !former.tombstone() {
			c.keys[former.lease]--
		}
	}
	c.newest[name] = newRow(e)
	c.keys[e.Lease]++
	switch mode := c.state.mode; {
	case e.Lease == 0:
	case mode == LeaseModeTTL && (e.Lease < 0 || e.Lease > MaxLeaseTTL):
		c.problem(e.Position, "has lease %d, which is no TTL", e.Lease)
	case mode == LeaseModeEtcd && !c.granted[e.Lease]:
		c.strays = append(c.strays, stray{e.Position, e.Lease})
	}
}

func (c *checker) control(e *log.Entry) {
	switch e.Kind {
	case log.KindCompaction, log.KindRecovery:
		c.compactions = append(c.compactions, compaction{e.Revision, e.Time})
	case log.KindLease:
		if e.Version != 0 {
			c.granted[e.Lease] = true
			break
		}
		if n := c.keys[e.Lease]; n > 0 && c.state.mode == LeaseModeEtcd {
			c.problem(e.Position, "revokes lease %d, to which %d keys belong", e.Lease, n)
		}
		delete(c.granted, e.Lease)
	case log.KindRecord:
		if string(e.Key) == recordImport {
			c.imported = e.Position
		}
	}
	c.state.apply(e)
}

// end looks at what only the whole log tells.
func (c *checker) end(end log.End, retention time.Duration) {
	c.rules.end(end, c.state.compact)
	for _, s := range c.strays {
		// A lease that was revoked later may be deleted, before the floor.
		if s.at > max(end.Floor, c.imported) {
			c.problem(s.at, "has lease %d, which was not granted", s.lease)
		}
	}
	if c.state.mode == LeaseModeEtcd {
		for _, id := range slices.Sorted(maps.Keys(c.keys)) {
			if n := c.keys[id]; id != 0 && n > 0 && !c.granted[id] {
				c.problem(0, "%d keys belong to lease %d, which is not there", n, id)
			}
		}
	}
	c.overdue(end, retention)
}

// deletionGrace is how long after its retention a row may still be there: deleting takes time, and begins anew after a
// restart.
const deletionGrace = 10 * time.Minute

// overdue counts the rows that nobody may read and that should be gone.
func (c *checker) overdue(end log.End, retention time.Duration) {
	if retention == 0 {
		retention = DefaultCompactRetention
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
			c.problem(0, "%d rows of what was compacted at %s are still there", rows, past.at.Time().UTC().Format(time.DateTime))
		}
		return
	}
}
