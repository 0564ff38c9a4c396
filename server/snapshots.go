package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server/snapshot"
)

const (
	// maxSnapshots is the number of snapshots that are made and sent at once: each needs a temporary file as large as the file of an etcd.
	maxSnapshots = 2
	// snapshotStall is how long a client may take for the next piece. With the largest windows of HTTP/2 and TCP a slow but living link
	// moves on by megabytes at a time.
	snapshotStall = 2 * time.Minute
	// snapshotWait is how long a client waits for a slot, longer than one that does not read can keep it.
	snapshotWait = snapshotStall + time.Minute
)

// snapshotSlots bounds the snapshots that are made and sent at once.
type snapshotSlots struct {
	slots chan struct{}
	// wait bounds the time until there is a slot, stall the time between two pieces.
	wait, stall time.Duration
}

func newSnapshotSlots() *snapshotSlots {
	return &snapshotSlots{slots: make(chan struct{}, maxSnapshots), wait: snapshotWait, stall: snapshotStall}
}

// take waits for a slot. Clients get one in the order in which they came.
func (s *snapshotSlots) take(ctx context.Context) (release func(), err error) {
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-timer.C:
		return nil, status.Errorf(codes.ResourceExhausted, "stele: %d other snapshots are being sent, and none of them ended within %s: try again later",
			cap(s.slots), s.wait)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// stalledError ends a snapshot whose client does not read.
type stalledError struct{ after time.Duration }

func (e stalledError) Error() string {
	return fmt.Sprintf("stele: the snapshot was ended because the client read nothing of it for %s", e.after)
}

// GRPCStatus gives the error its code.
func (e stalledError) GRPCStatus() *status.Status {
	return status.New(codes.DeadlineExceeded, e.Error())
}

// Snapshot sends the database that an etcd with the same history would have, as of one moment.
func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	remove, err := s.streams.add(func() { cancel(rpctypes.ErrGRPCStopped) })
	if err != nil {
		return err
	}
	defer remove()
	release, err := s.snapshots.take(ctx)
	if err != nil {
		return toStatus(err)
	}
	defer release()
	err = s.sendSnapshot(ctx, stream)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// The end of the request comes out of a file or the store as an error of theirs.
		err = context.Cause(ctx)
	case isFileError(err):
		s.logger.WithError(err).Error("could not make a snapshot")
		return status.Error(codes.ResourceExhausted, "stele: no room for the temporary file of a snapshot; the server's log has the reason")
	}
	var stalled stalledError
	if errors.As(err, &stalled) {
		s.logger.WithFields(logrus.Fields{"client": clientOf(stream.Context()), "after": stalled.after}).
			Warn("ended a snapshot whose client did not read it")
	}
	return toStatus(err)
}

func (s *maintenanceServer) sendSnapshot(ctx context.Context, stream pb.Maintenance_SnapshotServer) error {
	start := time.Now()
	export, err := s.store.Export(ctx)
	if err != nil {
		return err
	}
	logger := s.logger.WithFields(logrus.Fields{"revision": export.Revision, "entries": export.Len()})
	logger.Info("making a snapshot for a client")
	file, err := snapshot.BuildTemporary(ctx, export)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	sent := 0
	err = untilStalled(ctx, &s.streams.receivers, s.snapshots.stall, func(progress func()) error {
		return file.Send(func(piece []byte, remaining int64) error {
			sent += len(piece)
			defer progress()
			return stream.Send(&pb.SnapshotResponse{Blob: piece, RemainingBytes: uint64(remaining), Version: version.EtcdCluster})
		})
	})
	if err != nil {
		return err
	}
	logger.WithFields(logrus.Fields{"bytes": sent, "took": time.Since(start).Round(time.Millisecond)}).Info("sent a snapshot")
	return nil
}

// untilStalled runs send in a goroutine of group and returns its outcome, or an error once send has called progress for the last time longer than
// stall ago or ctx has ended. Only the end of the request ends a send to a client that does not read.
func untilStalled(ctx context.Context, group *sync.WaitGroup, stall time.Duration, send func(progress func()) error) error {
	done, stalled := make(chan error, 1), make(chan struct{})
	timer := time.AfterFunc(stall, sync.OnceFunc(func() { close(stalled) }))
	defer timer.Stop()
	group.Go(func() { done <- send(func() { timer.Reset(stall) }) })
	select {
	case err := <-done:
		return err
	case <-stalled:
		return stalledError{stall}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isFileError reports whether err is one of the file system, and not of the store.
func isFileError(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}
