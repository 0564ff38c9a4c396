package server

import "math"

const (
	// DefaultReservedDescriptors is the number of file descriptors reserved for other uses than client connections: the
	// database, snapshots, the metrics port. The value is the same as in etcd.
	DefaultReservedDescriptors = 150
	// fewestConnections is a divisor: clients may always use this fraction of the process's descriptors.
	fewestConnections = 4
)

// maxConnections returns how many client connections may be open at once if the process may open limit files and
// reserves some of them. A limit of 0 means that the limit is unknown; the connections are then not limited.
func maxConnections(limit uint64, reserved int) int {
	if limit == 0 || limit > math.MaxInt32 {
		return math.MaxInt32
	}
	n := int(limit)
	return max(n-reserved, n/fewestConnections, 1)
}
