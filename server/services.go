package server

import (
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
)

// ErrServiceRegistered means that [Options.GRPCServer] already has one of etcd's services. grpc itself would exit the
// process.
var ErrServiceRegistered = errors.New("the gRPC server already has a service")

var etcdServices = []grpc.ServiceDesc{
	pb.KV_ServiceDesc, pb.Watch_ServiceDesc, pb.Lease_ServiceDesc,
	pb.Cluster_ServiceDesc, pb.Maintenance_ServiceDesc, pb.Auth_ServiceDesc,
	v3lockpb.Lock_ServiceDesc, v3electionpb.Election_ServiceDesc,
}

// available returns an error if one of etcd's services cannot be registered with g, which may be nil.
func available(g *grpc.Server) error {
	if g == nil {
		return nil
	}
	registered := g.GetServiceInfo()
	for _, service := range etcdServices {
		if _, ok := registered[service.ServiceName]; ok {
			return fmt.Errorf("%w %s", ErrServiceRegistered, service.ServiceName)
		}
	}
	return nil
}
