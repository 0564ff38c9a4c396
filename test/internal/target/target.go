// Package target starts the two servers of a comparison: the reference is etcd, the subject is Stele. Tests run the
// same requests on both.
//
// Environment: STELE_TEST_SUBJECT=etcd makes a second etcd the subject, which shows that a comparison is deterministic
// and that its expectations are etcd's. STELE_TEST_DATABASE is the subject's database: see package stele.
// STELE_TEST_REPLICAS=n makes the subject n replicas on one database, with each request on another replica.
package target

import (
	"context"
	"os"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
)

// Process is the control of a server, of either kind.
type Process interface {
	Launch(ctx context.Context) error
	Kill() error
}

// Target is a running server with plain clients, which do not validate requests.
type Target struct {
	// Name is "etcd" or "stele".
	Name string
	// Address is the address for grpc and clientv3. Of several replicas it is that of the first one, which is called
	// leader.
	Address string
	// Addresses are the addresses of all replicas, beginning with Address.
	Addresses []string
	Process   Process
	// replicas are connections to each of several replicas.
	replicas []*grpc.ClientConn

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
	return Stele(t, args...)
}

// Stele starts Stele, even if etcd is compared with itself.
func Stele(t testing.TB, args ...string) *Target {
	t.Helper()
	if n := replicaCount(t); n > 1 {
		return startReplicas(t, n, args)
	}
	s := stele.Start(t, stele.Options{Args: args})
	return newTarget(t, "stele", s.Target, s)
}

// SubjectIsEtcd reports whether etcd is compared with itself.
func SubjectIsEtcd() bool { return os.Getenv("STELE_TEST_SUBJECT") == "etcd" }

// Variant reports whether the environment selects another database than SQLite, or several replicas. The run without
// them compares the expectations with etcd, so that this run need not.
func Variant() bool {
	return stele.Kind() != stele.SQLite || os.Getenv("STELE_TEST_REPLICAS") != ""
}

// Of returns the clients of a running server.
func Of(t testing.TB, name, address string, process Process) *Target {
	t.Helper()
	return newTarget(t, name, address, process)
}

func newTarget(t testing.TB, name, address string, process Process) *Target {
	t.Helper()
	return withConn(connect.GRPC(t, address), &Target{
		Name:      name,
		Address:   address,
		Addresses: []string{address},
		Process:   process,
	})
}

// withConn sets the clients of t.
func withConn(conn *grpc.ClientConn, t *Target) *Target {
	t.Conn = conn
	t.KV = pb.NewKVClient(conn)
	t.Watch = pb.NewWatchClient(conn)
	t.Lease = pb.NewLeaseClient(conn)
	t.Cluster = pb.NewClusterClient(conn)
	t.Maintenance = pb.NewMaintenanceClient(conn)
	return t
}

// Client returns an etcd client of all replicas.
func (t *Target) Client(tb testing.TB) *clientv3.Client {
	tb.Helper()
	return connect.Client(tb, t.Addresses...)
}

// Restart kills the server, or all replicas, by SIGKILL, and starts it again.
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
