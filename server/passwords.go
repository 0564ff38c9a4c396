package server

import (
	"context"
	"runtime"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	// passwordWait is how long a request waits until its password is hashed.
	passwordWait = 5 * time.Second
	// maxPasswordsOfClient and maxPasswords bound the requests that wait: what is behind them would hardly be served
	// within passwordWait.
	maxPasswordsOfClient = 64
	maxPasswords         = 1024
)

// passwords bounds the processor time of hashing passwords, which anybody can ask for. Half of the processors are left
// to other requests.
type passwords struct {
	queue *fairQueue
	wait  time.Duration
}

func newPasswords() *passwords {
	running := max(1, runtime.GOMAXPROCS(0)/2)
	return &passwords{queue: newFairQueue(running, maxPasswordsOfClient, maxPasswords), wait: passwordWait}
}

// do calls fn, which hashes a password, when it is the client's turn.
func (p *passwords) do(ctx context.Context, fn func() error) error {
	waiting, cancel := context.WithTimeoutCause(ctx, p.wait, rpctypes.ErrGRPCRequestTooManyRequests)
	defer cancel()
	if err := p.queue.acquire(waiting, clientOf(ctx)); err != nil {
		return err
	}
	defer p.queue.release()
	return fn()
}
