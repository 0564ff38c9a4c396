package server

import (
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// guarded returns a service whose every request is admitted by the authorizer before its handler sees it. It is for what the store does not evaluate: the
// others carry a guard with them. Not an interceptor, because a caller's gRPC server has its own ones only.
func guarded(service grpc.ServiceDesc, a *authorizer) *grpc.ServiceDesc {
	service.Methods, service.Streams = slices.Clone(service.Methods), slices.Clone(service.Streams)
	for i, m := range service.Methods {
		service.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			admit := func(ctx context.Context, r any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				admitted := func(ctx context.Context, r any) (any, error) {
					if err := a.admitted(ctx, r); err != nil {
						return nil, toStatus(err)
					}
					return handler(ctx, r)
				}
				if interceptor == nil {
					return admitted(ctx, r)
				}
				return interceptor(ctx, r, info, admitted)
			}
			return m.Handler(srv, ctx, decode, admit)
		}
	}
	for i, s := range service.Streams {
		service.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
			// The one stream there is takes a request without any fields.
			if err := a.admitted(stream.Context(), &pb.SnapshotRequest{}); err != nil {
				return toStatus(err)
			}
			return s.Handler(srv, stream)
		}
	}
	return &service
}
