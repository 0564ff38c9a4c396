package server

import (
	"context"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/version"
)

// Downgrade behaves as in an etcd cluster with one member. An enabled downgrade is recorded and shown by Status, and
// has no other effect, because the database needs no preparation for another version of Stele.
func (s *maintenanceServer) Downgrade(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	if err := s.auth.permitted(ctx, r); err != nil {
		return nil, toStatus(err)
	}
	switch r.Action {
	case pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE:
		return s.downgradeTo(ctx, r)
	case pb.DowngradeRequest_CANCEL:
		revision, err := s.updateRecords(ctx, r, cancelDowngrade)
		return s.downgraded(version.EtcdCluster, revision, err)
	}
	return nil, status.Error(codes.Unknown, "etcdserver: unknown method")
}

// downgradeTo validates a downgrade to the requested version, or enables it.
func (s *maintenanceServer) downgradeTo(ctx context.Context, r *pb.DowngradeRequest) (*pb.DowngradeResponse, error) {
	target, err := minorOf(r.Version)
	if err != nil {
		return nil, err
	}
	current := s.clusterVersion()
	if r.Action == pb.DowngradeRequest_VALIDATE {
		return s.downgraded(current, s.store.Revision(), s.validDowngrade(target, s.store.Records()))
	}
	revision, err := s.updateRecords(ctx, r, func(records logstructured.Records) ([]logstructured.RecordChange, error) {
		if err := s.validDowngrade(target, records); err != nil {
			return nil, err
		}
		return []logstructured.RecordChange{{Name: recordDowngrade, Value: []byte(target)}}, nil
	})
	return s.downgraded(current, revision, err)
}

// cancelDowngrade removes the record. As in etcd, it is not an error if there is none.
func cancelDowngrade(records logstructured.Records) ([]logstructured.RecordChange, error) {
	if _, enabled := records.Get(recordDowngrade); !enabled {
		return nil, nil
	}
	return []logstructured.RecordChange{{Name: recordDowngrade, Remove: true}}, nil
}

// updateRecords applies the changes that decide returns if r is permitted.
func (s *maintenanceServer) updateRecords(
	ctx context.Context, r any, decide func(logstructured.Records) ([]logstructured.RecordChange, error),
) (logstructured.Revision, error) {
	return authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
		return s.store.UpdateRecords(ctx, guard, decide)
	})
}

func (s *maintenanceServer) downgraded(
	from string, revision logstructured.Revision, err error,
) (*pb.DowngradeResponse, error) {
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.DowngradeResponse{Header: s.header(revision), Version: strings.TrimSuffix(from, ".0")}, nil
}

// validDowngrade refuses a target that is not the minor version before the cluster version. While a downgrade is
// enabled, the cluster version is its target.
func (s *maintenanceServer) validDowngrade(target string, records logstructured.Records) error {
	if minorBefore(clusterVersionOf(records)) != target {
		return rpctypes.ErrGRPCInvalidDowngradeTargetVersion
	}
	if _, enabled := records.Get(recordDowngrade); enabled {
		return rpctypes.ErrGRPCDowngradeInProcess
	}
	return nil
}

// minorOf returns "3.6.0" for "3.6" and for "3.6.5".
func minorOf(text string) (string, error) {
	parts := strings.Split(text, ".")
	if len(parts) == 2 {
		parts = append(parts, "0")
	}
	if len(parts) != 3 {
		return "", rpctypes.ErrGRPCWrongDowngradeVersionFormat
	}
	for _, part := range parts {
		if _, err := strconv.ParseUint(part, 10, 32); err != nil {
			return "", rpctypes.ErrGRPCWrongDowngradeVersionFormat
		}
	}
	return parts[0] + "." + parts[1] + ".0", nil
}

// minorBefore returns the minor version before the given one, to which it can be downgraded.
func minorBefore(of string) string {
	major, rest, _ := strings.Cut(of, ".")
	minor, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if err != nil || n == 0 {
		return ""
	}
	return major + "." + strconv.Itoa(n-1) + ".0"
}
