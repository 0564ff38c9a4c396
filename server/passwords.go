package server

import (
	"context"
	"runtime"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	// passwordWait bounds the time that a request waits until its password is hashed.
	passwordWait = 5 * time.Second
	// maxPasswordsOfClient and maxPasswords bound the requests that wait. Requests further back in the queue would
	// hardly be served within passwordWait.
	maxPasswordsOfClient = 64
	maxPasswords         = 1024
)

// passwords bounds the CPU time for hashing passwords, which any client can request. It leaves half of the processors
// to other requests.
type passwords struct {
	queue *fairQueue
	wait  time.Duration
}

func newPasswords() *passwords {
	running := max(1, runtime.GOMAXPROCS(0)/2)
	return &passwords{queue: newFairQueue(running, maxPasswordsOfClient, maxPasswords), wait: passwordWait}
}

// do calls fn, which hashes a password, when it is the turn of the client.
func (p *passwords) do(ctx context.Context, fn func() error) error {
	waiting, cancel := context.WithTimeoutCause(ctx, p.wait, rpctypes.ErrGRPCRequestTooManyRequests)
	defer cancel()
	if err := p.queue.acquire(waiting, clientOf(ctx)); err != nil {
		return err
	}
	defer p.queue.release()
	return fn()
}
