package logstructured

import (
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// maxClockStep is how far the database's clock may run ahead or behind of this process's between two looks before
	// that counts as a jump: more than what slow answers or a clock that is being adjusted explain, and less than the
	// shortest TTL.
	maxClockStep = 1500 * time.Millisecond
	// maxClockLook is how long a look at the database's clock may take: nobody knows when in that time it was taken,
	// and the process may have been stopped meanwhile.
	maxClockLook = 500 * time.Millisecond
)

// clock is the database's clock without its jumps. Deadlines are compared with it and with nothing else. When the
// database fails over to a machine whose clock is an hour ahead, nothing expires an hour early, and when it is behind,
// nothing lives an hour longer: the difference is measured with this process's monotonic clock and left out from then
// on. Before this process looked, only the times of the log's entries show what the clock did: see replay.
type clock struct {
	// told is what the database's clock showed, less skew, at the local, monotonic time at or up to late before.
	told log.Timestamp
	at   time.Time
	late log.Timestamp
	// skew is the sum of the jumps.
	skew log.Timestamp
}

// start sets the clock by the database's answer to a question of the local time asked. It continues the replayed times.
func (c *clock) start(now log.Timestamp, asked time.Time) {
	c.replay(now)
	local := time.Now()
	c.at, c.late = local, log.Timestamp(local.Sub(asked).Milliseconds())+1
}

// replay takes the time of the next entry of a log that is being loaded. Time passes on the clock only between entries
// that are close together. A longer step may be a jump, or time in which nothing was written: it is left out, so that
// no key expires early, and some expire late.
func (c *clock) replay(t log.Timestamp) {
	if c.told == 0 {
		c.told = t
		return
	}
	switch step := t - c.skew - c.told; {
	case (time.Duration(step) * time.Millisecond).Abs() > maxClockStep:
		c.skew += step
	case step > 0: // entries of several replicas are not quite in the order of their times
		c.told += step
	}
}

// replayed is the time on the clock of the entry that was just replayed.
func (c *clock) replayed(t log.Timestamp) log.Timestamp { return t - c.skew }

// observe takes note of what the database told when it was asked at the local time asked, and returns by how much its
// clock has jumped.
func (c *clock) observe(told log.Timestamp, asked time.Time) (jump time.Duration) {
	local := time.Now()
	if local.Sub(asked) > maxClockLook {
		return 0
	}
	now, expected := told-c.skew, c.reading(local)
	jump = time.Duration(now-expected) * time.Millisecond
	if jump.Abs() <= maxClockStep+time.Duration(c.late)*time.Millisecond {
		c.told, c.at, c.late = now, local, log.Timestamp(local.Sub(asked).Milliseconds())+1
		return 0
	}
	c.told, c.at, c.skew = expected, local, c.skew+now-expected
	return jump
}

// reading is what the clock shows at a local time, or shows already: it may lag by late, and is never ahead.
func (c *clock) reading(local time.Time) log.Timestamp {
	return c.told + log.Timestamp(local.Sub(c.at).Milliseconds())
}

// adjusted is the time of an append on this clock, which was not before the local time since. What seems to lie outside
// of the time since then was appended just when the clock jumped.
func (c *clock) adjusted(appended log.Timestamp, since time.Time) log.Timestamp {
	t := appended - c.skew
	if !since.IsZero() {
		t = max(t, c.reading(since))
	}
	return min(t, c.reading(time.Now())+c.late)
}

// localTime converts a time on the clock into one of this process.
func (c *clock) localTime(t log.Timestamp) time.Time {
	return c.at.Add(time.Duration(t-c.told) * time.Millisecond)
}
