package server

import (
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress requests
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stele-db/stele/server/transport"
)

// ErrServiceRegistered means that [Options.GRPCServer] already has one of etcd's services. grpc itself would exit the
// process.
var ErrServiceRegistered = errors.New("the gRPC server already has a service")

var etcdServices = []grpc.ServiceDesc{
	pb.KV_ServiceDesc, pb.Watch_ServiceDesc, pb.Lease_ServiceDesc, pb.Cluster_ServiceDesc, pb.Maintenance_ServiceDesc, pb.Auth_ServiceDesc,
	v3lockpb.Lock_ServiceDesc, v3electionpb.Election_ServiceDesc,
}

// available returns an error if one of etcd's services cannot be registered with g, which may be nil.
func available(g *grpc.Server) error {
	if g == nil {
		return nil
	}
	there := g.GetServiceInfo()
	for _, service := range etcdServices {
		if _, ok := there[service.ServiceName]; ok {
			return fmt.Errorf("%w %s", ErrServiceRegistered, service.ServiceName)
		}
	}
	return nil
}

// register registers etcd's services, health and reflection with the gRPC server. The caller's gRPC server keeps its
// own health service, and reflection is left to the caller.
func (s *Server) register(m *member) {
	kv := &kvServer{member: m, maxRequestBytes: s.opts.MaxRequestBytes, maxTxnOps: s.opts.MaxTxnOps}
	lease := &leaseServer{member: m, streams: s.streams}
	contest := contest{member: m, kv: kv, lease: lease, streams: s.streams}
	pb.RegisterKVServer(s.grpc, kv)
	pb.RegisterWatchServer(s.grpc, s.watch)
	pb.RegisterLeaseServer(s.grpc, lease)
	v3lockpb.RegisterLockServer(s.grpc, &lockServer{contest: contest})
	v3electionpb.RegisterElectionServer(s.grpc, &electionServer{contest: contest})
	pb.RegisterClusterServer(s.grpc, &clusterServer{member: m})
	pb.RegisterMaintenanceServer(s.grpc, &maintenanceServer{
		member: m, logger: s.opts.Logger, streams: s.streams, snapshots: s.snapshots,
	})
	pb.RegisterAuthServer(s.grpc, &authServer{
		member: m, logger: s.opts.Logger, passwords: s.passwords, maxRequestBytes: s.opts.MaxRequestBytes,
	})
	if s.opts.GRPCServer == nil {
		healthpb.RegisterHealthServer(s.grpc, s.health)
		registerReflection(s.grpc)
		return
	}
	if _, ok := s.grpc.GetServiceInfo()[healthpb.Health_ServiceDesc.ServiceName]; !ok {
		healthpb.RegisterHealthServer(s.grpc, s.health)
	}
}

// serveInjected serves the caller's gRPC server on the listeners, of which it takes ownership. The caller may also
// serve it on other listeners, and stop it.
func (s *Server) serveInjected(group *errgroup.Group) {
	for _, l := range s.opts.Listeners {
		group.Go(func() error {
			if err := s.grpc.Serve(transport.LimitConnections(l.Listener, s.opts.maxConnections())); !errors.Is(err, grpc.ErrServerStopped) {
				return err
			}
			return nil
		})
	}
}
