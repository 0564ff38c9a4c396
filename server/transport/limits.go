package transport

import (
	"math"
	"net"
	"sync"
)

const (
	// DefaultReservedDescriptors is the number of file descriptors reserved for other uses than client connections: the
	// database, snapshots, the metrics port. The value is the same as in etcd.
	DefaultReservedDescriptors = 150
	// fewestConnections is a divisor: clients may always use this fraction of the process's descriptors.
	fewestConnections = 4
)

// MaxConnections returns how many client connections may be open at once if reserved of the process's file descriptors
// are for other uses.
func MaxConnections(reserved int) int { return maxConnections(descriptorLimit(), reserved) }

// maxConnections returns how many client connections may be open at once if the process may open limit files and
// reserves some of them. A limit of 0 means that the limit is unknown; the connections are then not limited.
func maxConnections(limit uint64, reserved int) int {
	if limit == 0 || limit > math.MaxInt32 {
		return math.MaxInt32
	}
	n := int(limit)
	return max(n-reserved, n/fewestConnections, 1)
}

// limitedListener accepts at most a fixed number of open connections.
type limitedListener struct {
	net.Listener
	places places
	once   sync.Once
	closed chan struct{}
}

// LimitConnections returns a listener on which at most n connections are open at once. Further clients wait in the
// operating system's queue.
func LimitConnections(l net.Listener, n int) net.Listener {
	return &limitedListener{Listener: l, places: make(places, n), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	if !l.places.take(l.closed) {
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		l.places.leave()
		return nil, err
	}
	return &connection{Conn: conn, places: l.places}, nil
}

// Close implements [net.Listener].
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
