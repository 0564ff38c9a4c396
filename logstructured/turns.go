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
	// contended is how long after repeated conflicts this replica assumes that other replicas write too.
	contended = time.Second
	// crowd is the usual size of an append above which a momentarily empty queue does not mean that this replica is
	// idle.
	crowd = 4
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
	// took is the average duration of an append.
	took time.Duration
	// last is when this replica's last append finished. beaten is when it last had a conflict right after another one.
	last, beaten time.Time
}

// skip clears due if the other replicas have had time to append. It assumes so if this replica was idle for more than
// half of an append's duration, few clients write, and no other replica competes. Without skip, a client that spreads
// its requests over all replicas would wait for every other replica with each request.
func (t *turns) skip(requests int) {
	if time.Since(t.last) > t.took/2 && time.Since(t.beaten) > contended && requests < crowd {
		t.due = t.due[:0]
	}
}

// taken records an append by this replica and its duration. The duration is capped: a single append whose outcome was
// unknown for seconds must not raise the average for a long time. Without notifications a waiting replica does not poll
// before it expects the other replicas to have appended, and it computes that time from the average.
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

// conflicted records a conflict. again is set if the previous append conflicted too; a single conflict only shows that
// this replica lags behind.
func (t *turns) conflicted(again bool) {
	if again {
		t.beaten = time.Now()
	}
}

// foreign records an append by a replica. It does not restart the turn of due[0], which would never end if each append
// of a third replica restarted it.
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

// passed records that the replica whose turn it was did not append in time.
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

// look returns how long to wait before polling for appends of the other replicas. It is half of the time that their
// appends take on average, and a short interval after that.
func (t *turns) look() time.Duration {
	if expected := time.Until(t.since.Add(time.Duration(len(t.due)) * t.took / 2)); expected > 0 {
		return expected
	}
	return max(t.took/8, minTurnPoll)
}
