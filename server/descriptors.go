package server

import "math"

const (
	// DefaultReservedDescriptors are the file descriptors that clients' connections leave to the rest of the process:
	// the database, snapshots, the metrics port. It is etcd's number.
	DefaultReservedDescriptors = 150
	// fewestConnections is the part of the process's descriptors, as a divisor, that clients get in any case.
	fewestConnections = 4
)

// maxConnections is how many connections of clients there may be at once if the process may open limit files and keeps
// reserved of them for itself. A limit of 0 is unknown, and no limit.
func maxConnections(limit uint64, reserved int) int {
	if limit == 0 || limit > math.MaxInt32 {
		return math.MaxInt32
	}
	n := int(limit)
	return max(n-reserved, n/fewestConnections, 1)
}
