package logstructured

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

func TestStanding(t *testing.T) {
	var a applied
	a.restart(log.Head{})
	for i := range log.Position(5 * maxAppliedHeads) {
		a.advance(log.Head{Position: 2*i + 2, ID: log.AppendID(i + 1)})
	}
	newest := a.newest()
	for _, test := range []struct {
		head log.Head
		want standing
	}{
		{newest, reached},
		{log.Head{Position: newest.Position - 2, ID: newest.ID - 1}, reached},
		{log.Head{Position: newest.Position - 2*(maxAppliedHeads-1), ID: newest.ID - maxAppliedHeads + 1}, reached},
		{log.Head{Position: newest.Position, ID: newest.ID + 1}, foreign},     // another entry in its place
		{log.Head{Position: newest.Position - 1, ID: newest.ID}, foreign},     // within an append
		{log.Head{Position: 2, ID: 1}, foreign},                               // forgotten
		{log.Head{}, foreign},                                                 // an empty database
		{log.Head{Position: newest.Position + 1, ID: newest.ID + 1}, ahead},   // to come
		{log.Head{Position: newest.Position + 100, ID: newest.ID - 1}, ahead}, // to come, or foreign once it has
	} {
		if got, moved := a.standing(test.head); got != test.want || (moved != nil) != (got == ahead) {
			t.Errorf("%v is %d, want %d", test.head, got, test.want)
		}
	}
	_, moved := a.standing(log.Head{Position: newest.Position + 1, ID: 7})
	a.restart(log.Head{Position: 3, ID: 9})
	select {
	case <-moved:
	default:
		t.Error("a restart does not wake the waiters")
	}
	if got, _ := a.standing(newest); got != ahead {
		t.Errorf("after a restart, the head applied before is %d", got)
	}
}

func TestClock(t *testing.T) {
	var c clock
	c.start(1_000_000, time.Now())
	start := time.Now().Add(-time.Minute)
	c.base += 60_000 // a minute ago, by now
	now := func() log.Timestamp { return 1_000_000 + log.Timestamp(time.Since(start).Milliseconds()) }
	near := func(got, want log.Timestamp) bool { return got-want > -100 && got-want < 100 }

	if jump := c.observe(now()+700, time.Now()); jump != 0 || !near(c.reading(time.Now()), now()+700) {
		t.Errorf("a small difference is a jump of %v", jump)
	}
	if jump := c.observe(now(), time.Now()); jump != 0 || !near(c.reading(time.Now()), now()) {
		t.Errorf("a small difference back is a jump of %v", jump)
	}
	for _, hours := range []log.Timestamp{1, -3, 0} {
		const hour = 3_600_000
		before := c.skew
		jump := c.observe(now()+hours*hour, time.Now())
		if want := time.Duration(hours*hour-before) * time.Millisecond; (jump - want).Abs() > 100*time.Millisecond {
			t.Errorf("jump of %v, want %v", jump, want)
		}
		if !near(c.reading(time.Now()), now()) {
			t.Errorf("the clock shows %d, want %d", c.reading(time.Now()), now())
		}
		if got := c.adjusted(now()+hours*hour-5000, start); !near(got, now()-5000) {
			t.Errorf("an append five seconds ago is placed at %d, want %d", got, now()-5000)
		}
		// Appended before the jump, or after one that was not noticed.
		if got := c.adjusted(now()+hours*hour+2*hour, start); !near(got, now()) {
			t.Errorf("an append in the future is placed at %d, want %d", got, now())
		}
		for _, since := range []time.Time{time.Now(), start} {
			if got := c.adjusted(now()+hours*hour-2*hour, since); !near(got, now()) {
				t.Errorf("an append before the jump is placed at %d, want %d", got, now())
			}
		}
	}
	// After a slow answer the clock lags. The time of an append is not reduced by that.
	var behind clock
	behind.start(1_000_000, time.Now().Add(-400*time.Millisecond))
	if got := behind.adjusted(1_000_350, time.Time{}); got != 1_000_350 {
		t.Errorf("an append before a slow answer came is placed at %d", got)
	}
	if got := behind.reading(time.Now()); got > 1_000_100 {
		t.Errorf("after a slow answer the clock runs ahead: %d", got)
	}
	// The process was stopped between the query and its answer. The database may have read its clock before or after.
	for _, answer := range []log.Timestamp{now() - 60_000, now()} {
		if jump := c.observe(answer, time.Now().Add(-time.Minute)); jump != 0 || !near(c.reading(time.Now()), now()) {
			t.Errorf("a slow answer counts: jump %v, clock %d, want %d", jump, c.reading(time.Now()), now())
		}
	}
}

func TestTurns(t *testing.T) {
	mine := turns{tag: 1}
	due := func(want ...replicaTag) {
		t.Helper()
		if !slices.Equal(mine.due, want) {
			t.Errorf("due are %v, want %v", mine.due, want)
		}
	}
	mine.appended(time.Millisecond)
	due()
	mine.appendedBy(2)
	mine.appendedBy(3)
	mine.appendedBy(1) // its own append, found later
	due()
	mine.appended(time.Millisecond)
	due(2, 3)
	if wait := time.Until(mine.until); wait <= 0 || wait > turnAppends*time.Millisecond {
		t.Errorf("a turn lasts %v", wait)
	}
	mine.appendedBy(2)
	due(3)
	mine.endTurn() // 3 has nothing to append
	due()
	mine.appended(time.Millisecond)
	due(2)
	mine.appendedBy(4)
	mine.appendedBy(2)
	mine.appendedBy(3)
	due()
	mine.appended(time.Hour)
	due(4, 2, 3)
	if wait := time.Until(mine.until); wait > maxTurn {
		t.Errorf("a turn lasts %v", wait)
	}
	for tag := range replicaTag(1000) {
		mine.appendedBy(100 + tag)
	}
	mine.appended(time.Millisecond)
	if len(mine.due) != maxTurns {
		t.Errorf("%d are due, want at most %d", len(mine.due), maxTurns)
	}
}

func TestAppendIDs(t *testing.T) {
	for range 1000 {
		tag := newReplicaTag()
		if id := newAppendID(tag); id <= 0 || tagOf(id) != tag {
			t.Fatalf("the ID %x of replica %x has the tag %x", uint64(id), tag, tagOf(id))
		}
	}
}

func TestTurnsAfterRest(t *testing.T) {
	mine := turns{tag: 1}
	mine.appendedBy(2)
	mine.appended(time.Hour)
	mine.skip(1)
	if len(mine.due) != 1 {
		t.Error("right after its append a replica does not wait for the others")
	}
	mine.appendedAt = mine.appendedAt.Add(-time.Hour)
	mine.skip(busyAppend)
	if len(mine.due) != 1 {
		t.Error("a replica with many clients does not wait for the others")
	}
	mine.skip(1)
	if len(mine.due) != 0 {
		t.Error("a replica that had nothing to append waits for the others")
	}
	mine.appendedBy(2)
	mine.appended(time.Hour)
	mine.appendedAt = mine.appendedAt.Add(-time.Hour)
	mine.conflicted(true)
	mine.skip(1)
	if len(mine.due) != 1 {
		t.Error("after conflicts a replica does not wait for the others")
	}
}

// TestTurnEndsWhileOthersAppend lets a third replica append all the time during the turn of a silent replica.
func TestTurnEndsWhileOthersAppend(t *testing.T) {
	mine := turns{tag: 1}
	mine.appendedBy(2)
	mine.appendedBy(3)
	mine.appended(time.Millisecond) // 2 and 3 are due, and 2 is silent
	mine.appendedBy(3)
	until := mine.until
	for range 1000 {
		mine.appendedBy(3)
		if !mine.until.Equal(until) || !slices.Equal(mine.due, []replicaTag{2}) {
			t.Fatalf("appends of a third prolong the turn by %v, and %v are due", mine.until.Sub(until), mine.due)
		}
	}
	mine.appended(time.Millisecond)
	if mine.appendedBy(2); !mine.until.After(until) || !slices.Equal(mine.due, []replicaTag{3}) {
		t.Error("after the append of the one that was due the next one's turn does not begin")
	}
}

func TestTurnsAfterAnOutage(t *testing.T) {
	mine := turns{tag: 1}
	for range 100 {
		mine.appendedBy(2)
		mine.appended(time.Millisecond)
	}
	mine.appendedBy(2)
	mine.appended(5 * time.Second)
	if wait := mine.pollDelay(); wait > 10*time.Millisecond {
		t.Errorf("after one append that took 5 s the log is polled after %v", wait)
	}
}

// TestDeleterForgetsWaiters cancels a request that waits for a deletion.
func TestDeleterForgetsWaiters(t *testing.T) {
	d := newDeleter()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.wait(ctx, 7); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: %v", err)
	}
	if len(d.waiters) > 0 {
		t.Errorf("%d waiters are left", len(d.waiters))
	}
}
