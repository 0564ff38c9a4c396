package logstructured

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// turnAppends is how long a turn lasts, in appends of average duration. In that time a replica must learn of the
	// previous append, evaluate its requests again and append them, even on a busy machine. minTurn and maxTurn bound a
	// turn.
	turnAppends = 8
	minTurn     = 2 * time.Millisecond
	maxTurn     = 50 * time.Millisecond
	// maxTurns bounds how many other replicas this one waits for.
	maxTurns = 16
	// contentionTime is how long after repeated conflicts this replica assumes that other replicas write too.
	contentionTime = time.Second
	// busyAppend is the usual size of an append above which a momentarily empty queue does not mean that this replica
	// is idle.
	busyAppend = 4
	// minTurnPoll is the shortest interval at which a waiting replica polls the head, if the database sends no
	// notifications.
	minTurnPoll = 300 * time.Microsecond
)

// replicaTag is the part of an [log.AppendID] that identifies the replica that made it. It is random, and constant
// while the replica runs.
type replicaTag uint16

const replicaTagBits = 15 // the sign bit of the ID is not used

func tagOf(id log.AppendID) replicaTag { return replicaTag(uint64(id) >> (63 - replicaTagBits)) }

func newReplicaTag() replicaTag { return replicaTag(1 + rand.N(1<<replicaTagBits-1)) }

func newAppendID(tag replicaTag) log.AppendID {
	return log.AppendID(uint64(tag)<<(63-replicaTagBits) | rand.Uint64N(1<<(63-replicaTagBits)))
}

// turns makes the replicas that write append one after the other. The replica that appended last learns the new head
// first. Without turns it would win every race, and the other replicas would conflict.
//
// After its append a replica therefore waits until each replica that has appended recently has done so once more, the
// one that has waited longest first. This costs little, because requests that arrive meanwhile go into the next append.
// A replica that does not use its turn is not waited for again until it has appended. No lock is held: a stopped
// replica delays the other replicas by one turn, whatever they append in the meantime. Only the writer uses turns.
type turns struct {
	// tag identifies this replica.
	tag replicaTag
	// due are the other replicas that append before this one does again, the next one first. done are those that have
	// appended since this one did, in their order.
	due, done []replicaTag
	// since is when the turn of due[0] began, and until when it ends.
	since, until time.Time
	// average is the average duration of an append.
	average time.Duration
	// appendedAt is when this replica's last append finished. conflictedAt is when it last had a conflict right after
	// another one.
	appendedAt, conflictedAt time.Time
}

// skip clears due if the other replicas have had time to append. It assumes so if this replica was idle for more than
// half of an append's duration, few clients write, and no other replica competes. Without skip, a client that spreads
// its requests over all replicas would wait for every other replica with each request.
func (t *turns) skip(requests int) {
	if time.Since(t.appendedAt) > t.average/2 && time.Since(t.conflictedAt) > contentionTime && requests < busyAppend {
		t.due = t.due[:0]
	}
}

// appended records an append by this replica and its duration. The duration is capped: a single append whose outcome
// was unknown for seconds must not raise the average for a long time. Without notifications a waiting replica does not
// poll before it expects the other replicas to have appended, and it computes that time from the average.
func (t *turns) appended(took time.Duration) {
	took = min(took, maxTurn)
	if t.average == 0 {
		t.average = took
	}
	t.average += (took - t.average) / 8
	t.appendedAt = time.Now()
	t.due, t.done = append(t.due, t.done...), t.done[:0]
	t.due = t.due[max(0, len(t.due)-maxTurns):]
	t.next()
}

// conflicted records a conflict. again is set if the previous append conflicted too; a single conflict only shows that
// this replica lags behind.
func (t *turns) conflicted(again bool) {
	if again {
		t.conflictedAt = time.Now()
	}
}

// appendedBy records an append by a replica. It does not restart the turn of due[0], which would never end if each
// append of a third replica restarted it.
func (t *turns) appendedBy(tag replicaTag) {
	if tag == t.tag {
		return
	}
	hadTurn := len(t.due) > 0 && t.due[0] == tag
	same := func(other replicaTag) bool { return other == tag }
	t.due, t.done = slices.DeleteFunc(t.due, same), append(slices.DeleteFunc(t.done, same), tag)
	t.done = t.done[max(0, len(t.done)-maxTurns):]
	if hadTurn {
		t.next()
	}
}

// endTurn records that the replica whose turn it was did not append in time.
func (t *turns) endTurn() {
	t.due = t.due[1:]
	t.next()
}

func (t *turns) next() {
	if len(t.due) > 0 {
		t.since = time.Now()
		t.until = t.since.Add(min(max(turnAppends*t.average, minTurn), maxTurn))
	}
}

// pollDelay returns how long to wait before polling for appends of the other replicas. It is half of the time that
// their appends take on average, and a short interval after that.
func (t *turns) pollDelay() time.Duration {
	if expected := time.Until(t.since.Add(time.Duration(len(t.due)) * t.average / 2)); expected > 0 {
		return expected
	}
	return max(t.average/8, minTurnPoll)
}
