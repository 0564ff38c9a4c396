package server

import (
	"context"
	"errors"
	"math"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// statuses maps the store's errors to etcd's, in the order in which they are checked. An error may wrap several of
// them, and the first match must be the one that the client can act on.
var statuses = []struct {
	err    error
	status error
}{
	{logstructured.ErrCompacted, rpctypes.ErrGRPCCompacted},
	{logstructured.ErrFutureRevision, rpctypes.ErrGRPCFutureRev},
	{logstructured.ErrKeyNotFound, rpctypes.ErrGRPCKeyNotFound},
	{logstructured.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound},
	{logstructured.ErrLeaseExists, rpctypes.ErrGRPCLeaseExist},
	{logstructured.ErrLeaseTTLTooLarge, rpctypes.ErrGRPCLeaseTTLTooLarge},
	{logstructured.ErrLeaseMode, errLeaseMode},
	{logstructured.ErrLeaseIdentity, errLeaseIdentity},
	{log.ErrTooLarge, rpctypes.ErrGRPCRequestTooLarge},
	{log.ErrNoSpace, rpctypes.ErrGRPCNoSpace},
	{logstructured.ErrStopped, rpctypes.ErrGRPCStopped},
	{log.ErrNoConnection, status.Error(codes.Unavailable, "etcdserver: the database refuses further connections: "+
		"its user, the database or the server is limited to too few")},
	{context.Canceled, rpctypes.ErrGRPCCanceled},
	{logstructured.ErrTimeout, rpctypes.ErrGRPCTimeout},
	{context.DeadlineExceeded, rpctypes.ErrGRPCTimeout},
	// ErrUnknown comes before the rest: the client must learn that a write may have taken effect, even if the error
	// wraps others as well.
	{log.ErrUnknown, status.Error(codes.Unavailable,
		"etcdserver: the database did not confirm the write, which may have taken effect")},
	{log.ErrReadOnly, status.Error(codes.Unavailable, "etcdserver: the database is read-only, no write was made")},
	{log.ErrCorrupt, rpctypes.ErrGRPCCorrupt},
	{logstructured.ErrUnavailable, status.Error(codes.Unavailable, "etcdserver: the database is unavailable")},
}

// The errors of requests that lease mode ttl cannot serve. They name the flag, which the store does not know.
var (
	errLeaseMode = status.Error(codes.FailedPrecondition, "stele: this server runs with --lease-mode=ttl, "+
		"where a lease is only a TTL: it cannot be chosen, kept alive, revoked or listed; "+
		"locks, elections and service registries need --lease-mode=etcd")
	errLeaseIdentity = status.Error(codes.FailedPrecondition, "stele: this server runs with --lease-mode=ttl, "+
		"where all leases with the same TTL have the same ID: a key that is named after its lease is not unique; "+
		"locks, elections and service registries need --lease-mode=etcd")
)

// toStatus turns any error of the store into the gRPC status that etcd returns, and nil into nil. The status has no
// details of database errors, which may name hosts and files and belong in the log.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	var tooLarge *logstructured.AnswerTooLargeError
	if errors.As(err, &tooLarge) {
		// This is the error of gRPC in etcd, which fails only after it has read everything.
		const text = "grpc: trying to send message larger than max (%d vs. %d)"
		return status.Errorf(codes.ResourceExhausted, text, tooLarge.Bytes, math.MaxInt32)
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Internal, "etcdserver: internal error: "+err.Error())
}

// respond returns resp if err is nil, and otherwise no response and the status of err.
func respond[R any](resp *R, err error) (*R, error) {
	if err != nil {
		return nil, toStatus(err)
	}
	return resp, nil
}

// toWaitStatus is toStatus for streams and for requests that wait as long as their client does. Only the client sets a
// deadline there, after which etcd answers DeadlineExceeded. Other requests also have the server's deadline, after
// which etcd answers ErrGRPCTimeout.
func toWaitStatus(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return toStatus(err)
}

// reason returns an error with the status message of err, as in etcd's probes. It returns nil if err is nil.
func reason(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(status.Convert(toStatus(err)).Message())
}

// cancelReasons are the texts with which a watch response explains a failed creation. They have no common prefix in
// etcd.
var cancelReasons = []struct {
	err    error
	reason string
}{
	{logstructured.ErrDuplicateWatchID, "mvcc: duplicate watch ID provided on the WatchStream"},
	{logstructured.ErrEmptyWatchRange, "mvcc: watcher range is empty"},
	{logstructured.ErrCompacted, rpctypes.ErrCompacted.Error()},
}

// cancelReason returns the text for err, and an empty string for nil.
func cancelReason(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range cancelReasons {
		if errors.Is(err, c.err) {
			return c.reason
		}
	}
	for _, refusal := range watchRefusals {
		if errors.Is(err, refusal) {
			return err.Error() // includes the code, as in etcd
		}
	}
	return status.Convert(toStatus(err)).Message()
}

// watchRefusals are the errors with which a guard refuses a watch.
var watchRefusals = []error{
	rpctypes.ErrGRPCPermissionDenied, rpctypes.ErrGRPCUserEmpty,
	rpctypes.ErrGRPCAuthOldRevision, rpctypes.ErrGRPCInvalidAuthToken,
}

// unimplemented returns an error whose sentence says what is missing and what to do instead.
func unimplemented(sentence string) error {
	return status.Error(codes.Unimplemented, "stele: "+sentence)
}
