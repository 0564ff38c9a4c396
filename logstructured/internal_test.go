package logstructured

import (
	"testing"
	"time"
)

func TestStanding(t *testing.T) {
	var a applied
	a.restart(Head{})
	for i := range Position(5 * maxAppliedHeads) {
		a.advance(Head{2*i + 2, AppendID(i + 1)})
	}
	newest := a.newest()
	for _, test := range []struct {
		head Head
		want standing
	}{
		{newest, reached},
		{Head{newest.Position - 2, newest.ID - 1}, reached},
		{Head{newest.Position - 2*(maxAppliedHeads-1), newest.ID - maxAppliedHeads + 1}, reached},
		{Head{newest.Position, newest.ID + 1}, foreign},     // another entry in its place
		{Head{newest.Position - 1, newest.ID}, foreign},     // within an append
		{Head{2, 1}, foreign},                               // forgotten
		{Head{}, foreign},                                   // an empty database
		{Head{newest.Position + 1, newest.ID + 1}, ahead},   // to come
		{Head{newest.Position + 100, newest.ID - 1}, ahead}, // to come, or foreign once it has
	} {
		if got, moved := a.standing(test.head); got != test.want || (moved != nil) != (got == ahead) {
			t.Errorf("%v is %d, want %d", test.head, got, test.want)
		}
	}
	_, moved := a.standing(Head{newest.Position + 1, 7})
	a.restart(Head{3, 9})
	select {
	case <-moved:
	default:
		t.Error("whoever waits is not told of a restart")
	}
	if got, _ := a.standing(newest); got != ahead {
		t.Errorf("after a restart, what had been applied before is %d", got)
	}
}

func TestClock(t *testing.T) {
	var c clock
	start := time.Now().Add(-time.Minute)
	c.start(1_000_000, start)
	now := func() Timestamp { return 1_000_000 + Timestamp(time.Since(start).Milliseconds()) }
	near := func(got, want Timestamp) bool { return got-want > -100 && got-want < 100 }

	if jump := c.observe(now()+700, time.Now()); jump != 0 || !near(c.reading(time.Now()), now()+700) {
		t.Errorf("a small difference is a jump of %v", jump)
	}
	if jump := c.observe(now(), time.Now()); jump != 0 || !near(c.reading(time.Now()), now()) {
		t.Errorf("a small difference back is a jump of %v", jump)
	}
	for _, hours := range []Timestamp{1, -3, 0} {
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
		if got := c.adjusted(now()+hours*hour-2*hour, time.Now()); !near(got, now()) {
			t.Errorf("an append since just now is placed at %d, want %d", got, now())
		}
	}
	// The process was stopped between the question and the answer: whether the database was asked before or after that, nobody knows.
	for _, told := range []Timestamp{now() - 60_000, now()} {
		if jump := c.observe(told, time.Now().Add(-time.Minute)); jump != 0 || !near(c.reading(time.Now()), now()) {
			t.Errorf("a slow answer counts: jump %v, clock %d, want %d", jump, c.reading(time.Now()), now())
		}
	}
}

func TestTurns(t *testing.T) {
	var turns turns
	turns.taken(time.Millisecond)
	if turns.ours {
		t.Error("a replica that is alone waits for others")
	}
	turns.foreign()
	waits := 0
	for range 1000 {
		turns.taken(time.Millisecond)
		if turns.ours {
			if wait := time.Until(turns.until); wait > 2*time.Millisecond {
				t.Errorf("it waits for %v", wait)
			}
			waits++
			turns.passed()
		}
	}
	if waits > 12 {
		t.Errorf("it waited %d times for nobody in 1000 appends", waits)
	}
	turns.foreign()
	turns.taken(time.Hour)
	if !turns.ours {
		t.Error("it does not wait although another one has appended")
	}
	if wait := time.Until(turns.until); wait > maxTurn {
		t.Errorf("it waits for %v", wait)
	}
	turns.foreign()
	if turns.ours {
		t.Error("it waits although another one has appended meanwhile")
	}
}
