package server

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/server/auth"
)

// refusalLog logs requests that are refused because of the client's identity or because of the lease mode.
type refusalLog struct {
	warner *warner
	auth   *authorizer
}

func (f *refusalLog) interceptUnary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		f.check(ctx, info.FullMethod, req, err)
	}
	return resp, err
}

func (f *refusalLog) interceptStream(
	srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
	err := handler(srv, stream)
	if err != nil {
		f.check(stream.Context(), info.FullMethod, nil, err)
	}
	return err
}

// check logs err if it is a refusal of a request of the method. req is nil for a stream.
func (f *refusalLog) check(ctx context.Context, method string, req any, err error) {
	warn := func(kind, message string, fields func() logrus.Fields) {
		f.warner.warn(kind, clientHost(ctx), message, err, fields)
	}
	login, isLogin := req.(*pb.AuthenticateRequest)
	switch {
	case errors.Is(err, errLeaseMode), errors.Is(err, errLeaseIdentity):
		warn(method, "refused a request that relies on etcd's leases", func() logrus.Fields {
			return logrus.Fields{"method": method}
		})
	case isLogin && errors.Is(err, rpctypes.ErrGRPCAuthFailed):
		warn("login", "refused a login", func() logrus.Fields { return logrus.Fields{"user": login.Name} })
	case f.denied(ctx, err):
		warn("denied", "denied a request", func() logrus.Fields {
			return logrus.Fields{"user": f.auth.sender(ctx).User, "method": method}
		})
	}
}

// denied reports whether err means that the client has no permission for the request.
func (f *refusalLog) denied(ctx context.Context, err error) bool {
	if errors.Is(err, rpctypes.ErrGRPCUserEmpty) {
		// The error also means that a request to edit users has an empty user name.
		return f.auth.current().Enabled && f.auth.sender(ctx) == auth.Identity{}
	}
	return errors.Is(err, rpctypes.ErrGRPCPermissionDenied) || errors.Is(err, rpctypes.ErrGRPCInvalidAuthToken)
}
