package connect

import (
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// complaintInterval is the minimum time between two warnings.
const complaintInterval = time.Minute

// Complaint logs a warning about a lasting problem at most once per interval. Its methods may be called concurrently.
type Complaint struct{ last atomic.Int64 } // nanoseconds since the Unix epoch

// Refusal warns that the server refuses connections.
func (c *Complaint) Refusal(logger *logrus.Entry, err error) {
	c.warn(logger, err, TooManyConnections+"; until then requests share the existing connections")
}

// Files warns that the files of the configuration can no longer be read.
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
