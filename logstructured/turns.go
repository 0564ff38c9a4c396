package logstructured

import (
	"context"
	"time"
)

const (
	// minTurn and maxTurn bound how long a replica waits for others to append after it did.
	minTurn = time.Millisecond
	maxTurn = 25 * time.Millisecond
	// maxVain bounds, as a power of two, how many turns are taken without waiting after others let theirs pass.
	maxVain = 8
)

// turns lets the other replicas append too. Who has just appended knows the log's end before all others and would be first again,
// and again: the others would evaluate their requests for nothing. So a replica that sees others at work waits after each of
// its appends until one of theirs is there, as long as one of its own takes. It costs little: what arrives meanwhile goes with the next append. No
// lock is held, so a replica that was stopped holds nobody up for longer than that, and if the others have nothing to
// append, the waiting soon gets rarer. Only the writer uses it.
type turns struct {
	// ours tells that the newest append is this replica's and that another one's turn is next.
	ours bool
	// until is when their turn ends.
	until time.Time
	// took is the average time of an append.
	took time.Duration
	// active tells that there are others: some of theirs was seen.
	active bool
	// vain counts the turns in a row that nobody took; skip is how many to take without waiting.
	vain, skip int
}

// taken says that this replica has appended, which took so long.
func (t *turns) taken(took time.Duration) {
	if t.took == 0 {
		t.took = took
	}
	t.took += (took - t.took) / 8
	if !t.active {
		return
	}
	if t.skip > 0 {
		t.skip--
		return
	}
	t.ours, t.until = true, time.Now().Add(min(max(2*t.took, minTurn), maxTurn))
}

// foreign says that another replica has appended.
func (t *turns) foreign() {
	t.active, t.ours, t.vain, t.skip = true, false, 0, 0
}

// passed says that nobody took the turn.
func (t *turns) passed() {
	t.ours = false
	t.vain = min(t.vain+1, maxVain)
	t.skip = 1<<t.vain - 1
}

// awaitTurn waits while it is another replica's turn.
func (w *writer) awaitTurn(ctx context.Context) {
	for w.turns.ours {
		wait := time.Until(w.turns.until)
		if wait <= 0 {
			w.turns.passed()
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.store.behind:
			w.store.health.observe(ctx, w.catchUp(ctx))
		case <-timer.C:
		}
		timer.Stop()
	}
}
