// Package target names the two servers of a comparison: the reference is etcd, the subject is Stele, and every test that
// takes both runs the same requests against them.
//
// STELE_TEST_SUBJECT=etcd makes a second etcd the subject, which shows that a comparison is deterministic and that its
// expectations are etcd's.
package target

import (
	"context"
	"os"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
)

// Process is what both kinds of server can do.
type Process interface {
	Launch(ctx context.Context) error
	Kill() error
}

// Target is a running server with plain clients, which send whatever they are given.
type Target struct {
	// Name is "etcd" or "stele".
	Name string
	// Address is for grpc and clientv3.
	Address string
	Process Process

	Conn        *grpc.ClientConn
	KV          pb.KVClient
	Watch       pb.WatchClient
	Lease       pb.LeaseClient
	Cluster     pb.ClusterClient
	Maintenance pb.MaintenanceClient
}

// Reference starts an etcd; args are added to its command line.
func Reference(t testing.TB, args ...string) *Target {
	t.Helper()
	s := etcd.Start(t, etcd.Options{Args: args})
	return newTarget(t, "etcd", s.Target, s)
}

// Subject starts the server under test; args are added to its command line.
func Subject(t testing.TB, args ...string) *Target {
	t.Helper()
	if SubjectIsEtcd() {
		s := Reference(t, args...)
		s.Name = "subject"
		return s
	}
	s := stele.Start(t, stele.Options{Args: args})
	return newTarget(t, "stele", s.Target, s)
}

// SubjectIsEtcd tells that etcd is compared with itself.
func SubjectIsEtcd() bool { return os.Getenv("STELE_TEST_SUBJECT") == "etcd" }

func newTarget(t testing.TB, name, address string, process Process) *Target {
	t.Helper()
	conn := connect.GRPC(t, address)
	return &Target{
		Name:        name,
		Address:     address,
		Process:     process,
		Conn:        conn,
		KV:          pb.NewKVClient(conn),
		Watch:       pb.NewWatchClient(conn),
		Lease:       pb.NewLeaseClient(conn),
		Cluster:     pb.NewClusterClient(conn),
		Maintenance: pb.NewMaintenanceClient(conn),
	}
}

// Restart kills the server, as kill -9 does, and starts it again.
func (t *Target) Restart(ctx context.Context) error {
	if err := t.Process.Kill(); err != nil {
		return err
	}
	if err := t.Process.Launch(ctx); err != nil {
		return err
	}
	t.Conn.ResetConnectBackoff()
	return nil
}
