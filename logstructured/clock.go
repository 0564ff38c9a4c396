package logstructured

import (
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// maxClockStep is how far the database's clock may drift from this process's clock between two observations. A
	// larger step counts as a jump: slow answers or a clock that is being adjusted do not explain it. The limit is less
	// than the shortest TTL.
	maxClockStep = 1500 * time.Millisecond
	// maxClockRead is how long an observation of the database's clock may take. The database read its clock at an
	// unknown moment in that time, and the process may have been stopped meanwhile.
	maxClockRead = 500 * time.Millisecond
)

// clock is the database's clock without its jumps. Deadlines are compared only with this clock. When the database fails
// over to a machine whose clock is an hour ahead, nothing expires an hour early, and when it is behind, nothing lives
// an hour longer: the difference is measured with this process's monotonic clock and subtracted from then on. Before
// the first observation only the times of the log's entries show how the database's clock moved: see replay.
type clock struct {
	// base is the database's clock, less skew, at a local (monotonic) time between at-late and at.
	base log.Timestamp
	at   time.Time
	late log.Timestamp
	// skew is the sum of the jumps.
	skew log.Timestamp
}

// start sets the clock to now, the database's answer to a query sent at the local time sentAt. It continues the
// replayed times.
func (c *clock) start(now log.Timestamp, sentAt time.Time) {
	c.replay(now)
	local := time.Now()
	c.at, c.late = local, log.Timestamp(local.Sub(sentAt).Milliseconds())+1
}

// replay takes the time of the next entry while the log is loaded. Time passes on the clock only between entries that
// are close together. A longer step may be a jump, or time in which no entry was appended. It is left out, so that no
// key expires early, and some expire late.
func (c *clock) replay(t log.Timestamp) {
	if c.base == 0 {
		c.base = t
		return
	}
	switch step := t - c.skew - c.base; {
	case (time.Duration(step) * time.Millisecond).Abs() > maxClockStep:
		c.skew += step
	case step > 0: // entries of several replicas are not strictly in the order of their times
		c.base += step
	}
}

// replayed returns the time on the clock of the entry that was just replayed.
func (c *clock) replayed(t log.Timestamp) log.Timestamp { return t - c.skew }

// observe takes the database's answer to a query sent at the local time sentAt. It returns by how much the
// database's clock has jumped.
func (c *clock) observe(answer log.Timestamp, sentAt time.Time) (jump time.Duration) {
	local := time.Now()
	if local.Sub(sentAt) > maxClockRead {
		return 0
	}
	now, expected := answer-c.skew, c.reading(local)
	jump = time.Duration(now-expected) * time.Millisecond
	if jump.Abs() <= maxClockStep+time.Duration(c.late)*time.Millisecond {
		c.base, c.at, c.late = now, local, log.Timestamp(local.Sub(sentAt).Milliseconds())+1
		return 0
	}
	c.base, c.at, c.skew = expected, local, c.skew+now-expected
	return jump
}

// reading returns the clock at a local time. It may lag behind the database's clock by late, and is never ahead of it.
func (c *clock) reading(local time.Time) log.Timestamp {
	return c.base + log.Timestamp(local.Sub(c.at).Milliseconds())
}

// adjusted returns the time of an append on this clock. The append was not before the local time since. A time outside
// of the interval from since to now means that the clock jumped about then. The result is then the end of the interval,
// so that no key expires early.
func (c *clock) adjusted(appended log.Timestamp, since time.Time) log.Timestamp {
	t, latest := appended-c.skew, c.reading(time.Now())+c.late
	if t > latest || !since.IsZero() && t < c.reading(since) {
		return latest
	}
	return t
}

// localTime converts a time on the clock to this process's time.
func (c *clock) localTime(t log.Timestamp) time.Time {
	return c.at.Add(time.Duration(t-c.base) * time.Millisecond)
}
