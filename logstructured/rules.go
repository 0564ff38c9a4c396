package logstructured

import (
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// Problem is an inconsistency in a log: something that must not be there, or is missing.
type Problem struct {
	// Position is the position of the entry where the problem was found, 0 if it concerns the whole log.
	Position log.Position
	Text     string
}

func (p Problem) String() string {
	if p.Position == 0 {
		return p.Text
	}
	return fmt.Sprintf("position %d: %s", p.Position, p.Text)
}

// maxProblems is how many problems are reported. More are of no use: most of them follow from the first.
const maxProblems = 100

// rules checks the entries of a log, in order, against what a store writes: positions without gaps, and revisions and
// versions that follow from each other. [Check] and the start of a server share them. Checks that need more memory than
// the index has are left to [Check].
type rules struct {
	report func(Problem)

	previous struct {
		log.Head
		time log.Timestamp
	}
	// rows is the number of entries so far.
	rows int64
	// revision is the current revision, and writes is the number of its key entries so far. jumped is set if the
	// revision has none and never will.
	revision Revision
	writes   int64
	jumped   bool
	// gaps holds the last position of each gap, and jumps holds the revisions that do not follow the previous one. Both
	// ascend, so the last ones suffice to show whether any of them is a problem.
	gaps  []log.Position
	jumps []jump
	// orphans are the positions of rows whose key has earlier versions that are missing.
	orphans []log.Position
}

type jump struct {
	at       log.Position
	from, to Revision
}

// keepLast appends to a list of which only the last items matter.
func keepLast[T any](list []T, item T) []T {
	if len(list) == 2*maxProblems {
		list = append(list[:0], list[maxProblems:]...)
	}
	return append(list, item)
}

func (c *rules) problem(at log.Position, format string, args ...any) {
	c.report(Problem{at, fmt.Sprintf(format, args...)})
}

// entry checks the next entry, which is valid by itself. newest is the newest row of its key, nil if the key has none.
func (c *rules) entry(e *log.Entry, newest *row) {
	switch {
	case e.Position <= c.previous.Position:
		c.problem(e.Position, "comes after position %d", c.previous.Position)
	case e.Position > c.previous.Position+1:
		c.gaps = keepLast(c.gaps, e.Position-1)
	}
	if e.ID == 0 {
		c.problem(e.Position, "has no append ID")
	}
	if e.ID == c.previous.ID && e.Time != c.previous.time {
		c.problem(e.Position, "has another time than the entry before it, of the same append")
	}
	c.rows++
	c.previous.Head, c.previous.time = log.Head{Position: e.Position, ID: e.ID}, e.Time
	if e.Kind == log.KindPut || e.Kind == log.KindTombstone {
		c.write(e)
		c.version(e, newest)
	} else {
		c.control(e)
	}
}

// write checks the revision of a write against the previous entries.
func (c *rules) write(e *log.Entry) {
	switch {
	case e.Revision < c.revision:
		c.problem(e.Position, "has revision %d, after %d", e.Revision, c.revision)
	case e.Revision == c.revision && c.writes > 0:
		if e.Sub < c.writes {
			c.problem(e.Position, "has sub-revision %d of revision %d, after %d", e.Sub, e.Revision, c.writes-1)
		}
	case e.Revision == c.revision && c.jumped:
		c.problem(e.Position, "has revision %d, which was jumped over", e.Revision)
	case e.Revision != max(c.revision, 1)+1:
		c.jumps = keepLast(c.jumps, jump{e.Position, c.revision, e.Revision})
	}
	c.revision, c.writes, c.jumped = e.Revision, e.Sub+1, false
}

// version checks a write against the row that it supersedes.
func (c *rules) version(e *log.Entry, newest *row) {
	live := newest != nil && !newest.tombstone()
	switch {
	case e.Kind == log.KindTombstone && newest != nil && !live:
		c.problem(e.Position, "deletes a key that is deleted")
	case e.Kind == log.KindTombstone:
		if e.Version != 0 || e.CreateRevision != 0 || e.Lease != 0 {
			c.problem(e.Position, "deletes a key, and has a version, a create revision or a lease")
		}
	case live && (e.Version != newest.version+1 || e.CreateRevision != newest.create):
		c.problem(e.Position, "has version %d and create revision %d, after %d and %d",
			e.Version, e.CreateRevision, newest.version, newest.create)
	case live:
	case newest != nil && (e.Version != 1 || e.CreateRevision != e.Revision):
		c.problem(e.Position, "creates a key with version %d and create revision %d at revision %d",
			e.Version, e.CreateRevision, e.Revision)
	case newest != nil:
	case e.Version == 1 && e.CreateRevision != e.Revision:
		c.problem(e.Position, "creates a key with create revision %d at revision %d", e.CreateRevision, e.Revision)
	case e.Version < 1 || e.CreateRevision < 1 || e.CreateRevision > e.Revision:
		c.problem(e.Position, "has version %d and create revision %d at revision %d",
			e.Version, e.CreateRevision, e.Revision)
	case e.Version > 1:
		c.orphans = keepLast(c.orphans, e.Position)
	}
}

func (c *rules) control(e *log.Entry) {
	switch e.Kind {
	case log.KindCompaction:
		if e.Revision > max(c.revision, 1) && len(c.gaps) == 0 {
			c.problem(e.Position, "compacts revision %d, beyond %d", e.Revision, c.revision)
		}
		c.revision = max(c.revision, e.Revision)
	case log.KindRecovery:
		if e.Revision <= c.revision {
			c.problem(e.Position, "recovers to revision %d, after %d", e.Revision, c.revision)
		}
		c.revision, c.writes, c.jumped = e.Revision, 0, false
	case log.KindJump:
		if e.Revision <= c.revision {
			c.problem(e.Position, "jumps to revision %d, after %d", e.Revision, c.revision)
		}
		c.revision, c.writes, c.jumped = max(c.revision, e.Revision), 0, true
	}
}

// end checks what only the whole log shows. compact is the compact revision.
func (c *rules) end(end log.End, compact Revision) {
	for _, j := range c.jumps {
		// Rows that were superseded up to the compact revision may be deleted, whole revisions too.
		if j.to > max(j.from, 1)+1 && j.to > compact+1 {
			c.problem(j.at, "has revision %d, after %d: what is between is missing", j.to, max(j.from, 1))
		}
	}
	for _, missing := range c.gaps {
		if missing > end.Floor {
			c.problem(missing, "is missing, beyond the deletion floor %d", end.Floor)
		}
	}
	for _, at := range c.orphans {
		if compact < 0 {
			c.problem(at, "has a history that is not there, but nothing was compacted")
		}
	}
	if head := c.previous.Head; head != end.Head {
		c.problem(0, "the database reports head %s, and the newest entry is %s", end.Head, head)
	}
	if end.Rows != 0 && end.Rows != c.rows {
		c.problem(0, "there are %d rows instead of %d", c.rows, end.Rows)
	}
	if end.Floor > end.Position {
		c.problem(0, "the deletion floor %d is beyond the head %d", end.Floor, end.Position)
	}
	if end.ClusterID == 0 {
		c.problem(0, "the cluster ID is 0")
	}
}
