package logstructured

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// turnAppends is how long a turn lasts, in appends of average length: whoever has it must learn of the append
	// before it, evaluate its requests anew and append them, on a busy machine. minTurn and maxTurn bound it.
	turnAppends = 8
	minTurn     = 2 * time.Millisecond
	maxTurn     = 50 * time.Millisecond
	// maxTurns bounds how many other replicas are waited for.
	maxTurns = 16
	// contended is how long after an append in vain others are taken to write as well.
	contended = time.Second
	// crowd is how many requests an append should have, from which on a queue that is empty for a moment says nothing.
	crowd = 4
	// minTurnPoll is the shortest time between two looks at the log's end while waiting, where the database does not
	// tell.
	minTurnPoll = 300 * time.Microsecond
)

// replicaTag is the part of an [log.AppendID] that tells who made it: random bits that a replica has as long as it
// runs.
type replicaTag uint16

const replicaTagBits = 15 // the ID's sign is left alone

func tagOf(id log.AppendID) replicaTag { return replicaTag(uint64(id) >> (63 - replicaTagBits)) }

func newReplicaTag() replicaTag { return replicaTag(1 + rand.N(1<<replicaTagBits-1)) }

func newAppendID(tag replicaTag) log.AppendID {
	return log.AppendID(uint64(tag)<<(63-replicaTagBits) | rand.Uint64N(1<<(63-replicaTagBits)))
}

// turns lets the replicas that write append one after the other. Who has just appended knows the log's end before all
// others and would be first again, and of several others all would try at once and all but one in vain. So after its
// append a replica lets each of those that have appended lately do so once more, the one that has waited for longest
// first. It costs little: what arrives meanwhile goes with the next append. One that does not take its turn is waited
// for again only after it has appended. No lock is held, so a replica that was stopped holds the others up by one turn
// and no longer, whatever the rest of them append meanwhile. Only the writer uses it.
type turns struct {
	// tag is this replica's.
	tag replicaTag
	// due are the others that append before this one does again, the next one first; done are those that have appended
	// since it did, in their order.
	due, done []replicaTag
	// since is when the turn of the first that is due began, and until when it ends.
	since, until time.Time
	// took is the average time of an append.
	took time.Duration
	// last is when this replica's last append came in, and beaten when others were last faster twice in a row.
	last, beaten time.Time
}

// skip lets nobody be waited for if there was nothing to append for a good part of an append's time, few clients write,
// and others do not write at the same time: they had their time. Otherwise one client whose requests go to any of the
// replicas would wait for all the others with each of them.
func (t *turns) skip(requests int) {
	if time.Since(t.last) > t.took/2 && time.Since(t.beaten) > contended && requests < crowd {
		t.due = t.due[:0]
	}
}

// taken says that this replica has appended, which took so long. One append whose outcome was unknown for seconds must
// not make the others wait for as long as that is remembered: where the database does not tell of appends, nobody looks
// before they are to be expected.
func (t *turns) taken(took time.Duration) {
	took = min(took, maxTurn)
	if t.took == 0 {
		t.took = took
	}
	t.took += (took - t.took) / 8
	t.last = time.Now()
	t.due, t.done = append(t.due, t.done...), t.done[:0]
	t.due = t.due[max(0, len(t.due)-maxTurns):]
	t.next()
}

// conflicted says that an append was in vain, again if the one before it was so too. Once means no more than that the
// replica lags behind.
func (t *turns) conflicted(again bool) {
	if again {
		t.beaten = time.Now()
	}
}

// foreign says that another replica has appended. The turn of the one that is waited for goes on meanwhile: it would
// never end if it began anew with each append of a third.
func (t *turns) foreign(tag replicaTag) {
	if tag == t.tag {
		return
	}
	took := len(t.due) > 0 && t.due[0] == tag
	same := func(other replicaTag) bool { return other == tag }
	t.due, t.done = slices.DeleteFunc(t.due, same), append(slices.DeleteFunc(t.done, same), tag)
	t.done = t.done[max(0, len(t.done)-maxTurns):]
	if took {
		t.next()
	}
}

// passed says that the one whose turn it was did not take it.
func (t *turns) passed() {
	t.due = t.due[1:]
	t.next()
}

func (t *turns) next() {
	if len(t.due) > 0 {
		t.since = time.Now()
		t.until = t.since.Add(min(max(turnAppends*t.took, minTurn), maxTurn))
	}
}

// look is how long to wait before it is worth looking whether the others have appended: half as long as their appends
// take on average, and from then on shortly.
func (t *turns) look() time.Duration {
	if expected := time.Until(t.since.Add(time.Duration(len(t.due)) * t.took / 2)); expected > 0 {
		return expected
	}
	return max(t.took/8, minTurnPoll)
}
