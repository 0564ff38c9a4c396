package transport

import (
	"net"
	"sync"
)

// Queues are the queues of the two servers that share a dispatcher.
type Queues struct{ GRPC, HTTP *Queue }

// NewQueues returns two open queues.
func NewQueues() *Queues { return &Queues{GRPC: newQueue(), HTTP: newQueue()} }

// Queue is a [net.Listener] whose connections were accepted elsewhere.
type Queue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue() *Queue {
	return &Queue{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Push hands conn to Accept, or closes it if the queue is closed.
func (q *Queue) Push(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.closed:
		_ = conn.Close()
	}
}

// Accept implements [net.Listener].
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (q *Queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements [net.Listener].
func (q *Queue) Addr() net.Addr { return queueAddr{} }

type queueAddr struct{}

func (queueAddr) Network() string { return "dispatcher" }
func (queueAddr) String() string  { return "dispatcher" }
