package server

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/transfer/snapshot"
)

// Snapshot sends the database file that an etcd with the same history would have, as of one moment.
func (s *maintenanceServer) Snapshot(r *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) error {
	if err := s.auth.permitted(stream.Context(), r); err != nil {
		return toStatus(err)
	}
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
	err = s.sendSnapshot(ctx, r, stream)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// If the request ended, the file or the store returned an error of its own.
		err = context.Cause(ctx)
	case isFileError(err):
		s.logger.WithError(err).Error("could not make a snapshot")
		return status.Error(codes.ResourceExhausted,
			"stele: no room for the temporary file of a snapshot; the server's log has the reason")
	}
	var stalled stalledError
	if errors.As(err, &stalled) {
		s.logger.WithFields(logrus.Fields{"client": clientOf(stream.Context()), "after": stalled.after}).
			Warn("ended a snapshot whose client did not read it")
	}
	return toStatus(err)
}

func (s *maintenanceServer) sendSnapshot(
	ctx context.Context, r *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer,
) error {
	start := time.Now()
	export, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.Export, error) {
		return s.store.Export(ctx, guard)
	})
	if err != nil {
		return err
	}
	logger := s.logger.WithFields(logrus.Fields{"revision": export.Revision, "entries": export.Len()})
	logger.Info("making a snapshot for a client")
	file, err := snapshot.BuildTemporary(ctx, export)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // an error is irrelevant: the file was only read
	sent := 0
	err = s.snapshots.send(ctx, &s.streams.receivers, func(progress func()) error {
		return file.Send(func(piece []byte, remaining int64) error {
			sent += len(piece)
			defer progress()
			return stream.Send(&pb.SnapshotResponse{
				Blob: piece, RemainingBytes: uint64(remaining), Version: version.EtcdCluster,
			})
		})
	})
	if err != nil {
		return err
	}
	took := time.Since(start).Round(time.Millisecond)
	logger.WithFields(logrus.Fields{"bytes": sent, "took": took}).Info("sent a snapshot")
	return nil
}

// isFileError reports whether err is an error of the file system, not of the store.
func isFileError(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}
