package connect

import (
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// complaintInterval is how often operators read of refused connections.
const complaintInterval = time.Minute

// Complaint warns operators that the server refuses connections, at most once in each interval. Its methods may be called concurrently.
type Complaint struct{ last atomic.Int64 } // nanoseconds since the Unix epoch

// Warn logs the refusal, unless one was logged within the interval.
func (c *Complaint) Warn(logger *logrus.Entry, refusal error) {
	now := time.Now().UnixNano()
	if last := c.last.Load(); now-last > int64(complaintInterval) && c.last.CompareAndSwap(last, now) {
		logger.WithError(refusal).Warn(TooManyConnections + "; until then requests share those that there are")
	}
}
