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

	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server/snapshot"
)

// maxSnapshots is how many are made at once: each needs as much room for temporary files as an etcd would need.
const maxSnapshots = 2

func newMaintenanceServer(m *member, logger *logrus.Entry, streams *streamSet) *maintenanceServer {
	return &maintenanceServer{member: m, logger: logger, streams: streams, snapshots: make(chan struct{}, maxSnapshots)}
}

// Snapshot sends what an etcd with the same history would have in its database, as of one moment.
func (s *maintenanceServer) Snapshot(_ *pb.SnapshotRequest, stream pb.Maintenance_SnapshotServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	remove, err := s.streams.add(cancel)
	if err != nil {
		return err
	}
	defer remove()
	err = s.sendSnapshot(ctx, stream)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && stream.Context().Err() == nil:
		return rpctypes.ErrGRPCStopped
	case isFileError(err):
		s.logger.WithError(err).Error("could not make a snapshot")
		return status.Error(codes.ResourceExhausted, "stele: no room for the temporary file of a snapshot; the server's log has the reason")
	}
	return toStatus(err)
}

func (s *maintenanceServer) sendSnapshot(ctx context.Context, stream pb.Maintenance_SnapshotServer) error {
	select {
	case s.snapshots <- struct{}{}:
		defer func() { <-s.snapshots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	start := time.Now()
	export, err := s.store.Export(ctx)
	if err != nil {
		return err
	}
	logger := s.logger.WithFields(logrus.Fields{"revision": export.Revision, "entries": export.Len()})
	logger.Info("making a snapshot for a client")
	sent := 0
	err = snapshot.Stream(ctx, export, func(piece []byte, remaining int64) error {
		sent += len(piece)
		return stream.Send(&pb.SnapshotResponse{Blob: piece, RemainingBytes: uint64(remaining), Version: version.EtcdCluster})
	})
	if err != nil {
		return err
	}
	logger.WithFields(logrus.Fields{"bytes": sent, "took": time.Since(start).Round(time.Millisecond)}).Info("sent a snapshot")
	return nil
}

// isFileError tells an error of the file system from one of the store.
func isFileError(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}
