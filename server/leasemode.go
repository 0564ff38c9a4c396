package server

import (
	"context"
	"errors"
	"sync"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

var (
	errLeaseMode     = status.Error(codes.FailedPrecondition, "stele: "+logstructured.ErrLeaseMode.Error())
	errLeaseIdentity = status.Error(codes.FailedPrecondition, "stele: "+logstructured.ErrLeaseIdentity.Error())
)

// maxLeaseWarnings bounds the pairs of client and method that a leaseWarner remembers.
const maxLeaseWarnings = 1000

// leaseWarner logs the requests that lease mode ttl refuses, once for each host of clients and each method: the program behind
// them was written for etcd's leases.
type leaseWarner struct {
	logger *logrus.Entry

	mu   sync.Mutex
	seen map[leaseWarning]struct{}
}

type leaseWarning struct{ client, method string }

func newLeaseWarner(logger *logrus.Entry) *leaseWarner {
	return &leaseWarner{logger: logger, seen: make(map[leaseWarning]struct{})}
}

func (w *leaseWarner) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		w.check(ctx, info.FullMethod, err)
	}
	return resp, err
}

func (w *leaseWarner) interceptStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	err := handler(srv, stream)
	if err != nil {
		w.check(stream.Context(), info.FullMethod, err)
	}
	return err
}

// check logs err if it refuses a request because of the lease mode.
func (w *leaseWarner) check(ctx context.Context, method string, err error) {
	if status.Code(err) != codes.FailedPrecondition || !errors.Is(err, errLeaseMode) && !errors.Is(err, errLeaseIdentity) {
		return
	}
	client := clientHost(ctx)
	if w.first(leaseWarning{client, method}) {
		w.logger.WithError(err).WithFields(logrus.Fields{"client": client, "method": method}).
			Warn("refused a request that relies on etcd's leases; further ones by this client are not logged")
	}
}

// first reports whether this is the first such warning.
func (w *leaseWarner) first(warning leaseWarning) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.seen[warning]; ok || len(w.seen) >= maxLeaseWarnings {
		return false
	}
	w.seen[warning] = struct{}{}
	return true
}
