package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

func TestStatusOfEveryError(t *testing.T) {
	for _, c := range []struct {
		err  error
		code codes.Code
		text string
	}{
		{logstructured.ErrCompacted, codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted"},
		{logstructured.ErrFutureRevision, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision"},
		{logstructured.ErrKeyNotFound, codes.InvalidArgument, "etcdserver: key not found"},
		{logstructured.ErrLeaseNotFound, codes.NotFound, "etcdserver: requested lease not found"},
		{logstructured.ErrLeaseExists, codes.FailedPrecondition, "etcdserver: lease already exists"},
		{logstructured.ErrLeaseTTLTooLarge, codes.OutOfRange, "etcdserver: too large lease TTL"},
		{log.ErrTooLarge, codes.InvalidArgument, "etcdserver: request is too large"},
		{log.ErrNoSpace, codes.ResourceExhausted, "etcdserver: mvcc: database space exceeded"},
		{logstructured.ErrTimeout, codes.Unavailable, "etcdserver: request timed out"},
		{context.DeadlineExceeded, codes.Unavailable, "etcdserver: request timed out"},
		{context.Canceled, codes.Canceled, "etcdserver: request canceled"},
		{logstructured.ErrStopped, codes.Unavailable, "etcdserver: server stopped"},
		{logstructured.ErrUnavailable, codes.Unavailable, "etcdserver: the database is unavailable"},
		{log.ErrReadOnly, codes.Unavailable, "etcdserver: the database is read-only, no write was made"},
		{log.ErrCorrupt, codes.DataLoss, "etcdserver: corrupt cluster"},
		{log.ErrUnknown, codes.Unavailable,
			"etcdserver: the database did not confirm the write, which may have taken effect"},
		{
			&logstructured.AnswerTooLargeError{Bytes: 3 << 30}, codes.ResourceExhausted,
			"grpc: trying to send message larger than max (3221225472 vs. 2147483647)",
		},
		{
			fmt.Errorf("%w: %w", log.ErrNoConnection, context.DeadlineExceeded), codes.Unavailable,
			"etcdserver: the database refuses further connections: " +
				"its user, the database or the server is limited to too few",
		},
		// Of two errors, the one that the client can act on.
		{errors.Join(logstructured.ErrUnavailable, log.ErrNoSpace), codes.ResourceExhausted,
			"etcdserver: mvcc: database space exceeded"},
		{errors.Join(logstructured.ErrUnavailable, log.ErrUnknown), codes.Unavailable,
			"etcdserver: the database did not confirm the write, which may have taken effect"},
		{errors.Join(log.ErrUnknown, context.DeadlineExceeded), codes.Unavailable, "etcdserver: request timed out"},
		// An unexpected error is not mapped to another one.
		{errors.New("surprise"), codes.Internal, "etcdserver: internal error: surprise"},
		{status.Error(codes.Aborted, "kept"), codes.Aborted, "kept"},
	} {
		for _, err := range []error{c.err, fmt.Errorf("append: %w", c.err)} {
			got := status.Convert(toStatus(err))
			if got.Code() != c.code ||
				!strings.HasSuffix(got.Message(), strings.TrimPrefix(c.text, "etcdserver: internal error: ")) {
				t.Errorf("%v: got %v %q", err, got.Code(), got.Message())
			}
		}
	}
	if toStatus(nil) != nil {
		t.Error("no error became one")
	}
}

func TestCancelReasons(t *testing.T) {
	for err, want := range map[error]string{
		logstructured.ErrDuplicateWatchID: "mvcc: duplicate watch ID provided on the WatchStream",
		logstructured.ErrEmptyWatchRange:  "mvcc: watcher range is empty",
		logstructured.ErrCompacted:        "etcdserver: mvcc: required revision has been compacted",
		logstructured.ErrUnavailable:      "etcdserver: the database is unavailable",
		nil:                               "",
	} {
		if got := cancelReason(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
