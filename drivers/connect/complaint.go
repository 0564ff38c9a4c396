package connect

import (
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// complaintInterval is how often a warning is repeated.
const complaintInterval = time.Minute

// Complaint logs one warning, whose reason lasts, at most once in each interval. Its methods may be called
// concurrently.
type Complaint struct{ last atomic.Int64 } // nanoseconds since the Unix epoch

// Refusal warns that the server refuses connections.
func (c *Complaint) Refusal(logger *logrus.Entry, err error) {
	c.warn(logger, err, TooManyConnections+"; until then requests share the existing connections")
}

// Files warns that files of the configuration cannot be read again.
func (c *Complaint) Files(logger *logrus.Entry, err error) {
	c.warn(logger, err, "cannot read the files with the password or the certificates for the database again; "+
		"connecting with what was read last; correct the files")
}

func (c *Complaint) warn(logger *logrus.Entry, err error, message string) {
	now := time.Now().UnixNano()
	if last := c.last.Load(); now-last > int64(complaintInterval) && c.last.CompareAndSwap(last, now) {
		logger.WithError(err).Warn(message)
	}
}
