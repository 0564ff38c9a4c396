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

// CheckResult is the result of [Check].
type CheckResult struct {
	// Entries is the number of entries in the log, Keys of live keys, and Leases of leases granted and not revoked.
	Entries, Keys, Leases int
	Revision              Revision
	CompactRevision       Revision
	// Problems is the number of problems, including those that were not reported.
	Problems int
	// WithoutChecksum is the number of entries without a checksum. LaterWithoutChecksum is the number of those that
	// come after an entry with one. Unless they are damaged, an earlier version wrote them while or after a version
	// with checksums was running.
	WithoutChecksum, LaterWithoutChecksum int
	// Records are the newest records, for other packages to check their values.
	Records Records
}

// CheckOptions describe how the log is served, and what to read of it.
type CheckOptions struct {
	// Retention is the retention with which the log is served (0: the default). It is used to find rows that should
	// have been deleted.
	Retention time.Duration
	// Values also reads all values and compares them with their checksums, and has a [log.Verifier] check the database.
	Values bool
}

// Check reads a whole log and reports violations of its invariants. Other processes may append meanwhile: Check reads
// one snapshot.
func Check(ctx context.Context, l log.Log, opts CheckOptions, report func(Problem)) (*CheckResult, error) {
	c := &checker{
		state: newState(), show: report,
		newest: map[string]*row{}, granted: map[LeaseID]bool{}, keys: map[LeaseID]int{},
		supersededAt: map[Revision]int{},
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
		Revision: c.revision, CompactRevision: c.state.compact, Records: Records{&c.state.control},
		WithoutChecksum: c.unsealed, LaterWithoutChecksum: c.laterUnsealed,
	}
	for _, r := range c.newest {
		if !r.tombstone() {
			result.Keys++
		}
	}
	return result, nil
}

// checker follows a log entry by entry. A state tracks compaction, recovery and lease mode. The checker tracks keys
// itself, because a state does not check the entries that it applies.
type checker struct {
	rules
	state    *state
	show     func(Problem)
	entries  int
	problems int

	newest map[string]*row
	// granted holds the leases of LeaseModeEtcd, and keys the number of live keys of each lease.
	granted map[LeaseID]bool
	keys    map[LeaseID]int
	// ungranted holds the writes with a lease that was not granted before them. imported is the position at which an
	// import ended. Up to it these are no problem: the imported history names leases that had already ended in the
	// source.
	ungranted []leasedWrite
	imported  log.Position
	// supersededAt counts rows by the revision that superseded them.
	supersededAt map[Revision]int
	compactions  []compaction
	// sealed means that a row with a checksum came before. unsealed counts the rows without a checksum, and
	// laterUnsealed those of them that come after a row with one.
	sealed                  bool
	unsealed, laterUnsealed int
}

type leasedWrite struct {
	at    log.Position
	lease LeaseID
}

type compaction struct {
	revision Revision
	at       log.Timestamp
}

// count counts a problem, and shows it unless there were too many.
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
		c.laterUnsealed++
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

// invalid reports an invalid entry.
func (c *checker) invalid(at log.Position, err error) {
	var d *log.Damage
	if errors.As(err, &d) {
		c.problem(at, "is damaged: %s (revision %d, key %q)", d.How, d.Revision, d.Key)
		return
	}
	c.problem(at, "%v", err)
}

// values reads the log up to a position a second time and verifies the values of puts. It ignores rows that are deleted
// meanwhile.
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

// checkBatch is how many entries are read at once, with their values.
const checkBatch = 1000

func (c *checker) key(e *log.Entry) {
	name := string(e.Key)
	if previous := c.newest[name]; previous != nil {
		c.supersededAt[e.Revision]++
		if !previous.tombstone() {
			c.keys[previous.lease]--
		}
	}
	c.newest[name] = newRow(e)
	c.keys[e.Lease]++
	switch mode := c.state.mode; {
	case e.Lease == 0:
	case mode == LeaseModeTTL && (e.Lease < 0 || e.Lease > MaxLeaseTTL):
		c.problem(e.Position, "has lease %d, which is no TTL", e.Lease)
	case mode == LeaseModeEtcd && !c.granted[e.Lease]:
		c.ungranted = append(c.ungranted, leasedWrite{e.Position, e.Lease})
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

// end checks what depends on the whole log.
func (c *checker) end(end log.End, retention time.Duration) {
	c.rules.end(end, c.state.compact)
	for _, s := range c.ungranted {
		// The grant of a lease that was revoked later may have been deleted, up to the floor.
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

// deletionGrace is how long after its retention a row may still exist: deletion takes time, and starts over after a
// restart.
const deletionGrace = 10 * time.Minute

// overdue counts the unreadable rows that should have been deleted.
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
			c.problem(0, "%d rows of what was compacted at %s are still there",
				rows, past.at.Time().UTC().Format(time.DateTime))
		}
		return
	}
}
