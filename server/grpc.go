package server

import (
	"context"
	"math"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/server/transport"
)

// streamWorkers covers the watch streams of a cluster (Kubernetes opens about sixty) and its usual concurrency. The
// workers cost half a megabyte.
const streamWorkers = 256

func grpcOptions(
	opts Options, calls calls, refusals *refusalLog, streams *streamSet, answers *outboxes,
) []grpc.ServerOption {
	recovered := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		opts.Logger.WithFields(logrus.Fields{"panic": p, "stack": string(debug.Stack())}).Error("a request panicked")
		return status.Error(codes.Internal, "etcdserver: internal error")
	})
	return append(connectionOptions(opts),
		// The gateway reads responses at once. Its clients are bounded by their own connections.
		grpc.Creds(transport.NewCredentials(answers.open(processBytes/2, processBytes/4, func() {}))),
		grpc.MaxRecvMsgSize(opts.MaxRequestBytes+grpcOverheadBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.ForceServerCodecV2(newCodec()),
		// This saves write calls for large lists and for the responses to a group of requests. Connections with nothing
		// to write hold no buffer.
		grpc.WriteBufferSize(128<<10),
		grpc.ChainUnaryInterceptor(calls.interceptUnary, refusals.interceptUnary,
			recovery.UnaryServerInterceptor(recovered), interceptUnaryAnswer),
		grpc.ChainStreamInterceptor(calls.interceptStream, refusals.interceptStream,
			recovery.StreamServerInterceptor(recovered), interceptStreamAnswers, streams.interceptHealth),
		// A worker whose stack has grown for one request serves the next one; grpc starts further goroutines when all
		// workers are busy. Each watch stream occupies a worker, so there are more workers than processors.
		grpc.NumStreamWorkers(streamWorkers),
		// Fixed windows avoid the ping with which grpc estimates the bandwidth on every request that arrives.
		grpc.InitialWindowSize(1<<20),
		grpc.InitialConnWindowSize(4<<20),
		grpc.WaitForHandlers(true),
	)
}

// connectionOptions returns the options of both servers: the one before the store is open and the one after.
func connectionOptions(opts Options) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ConnectionTimeout(opts.HandshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: opts.KeepAliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: opts.KeepAliveInterval, Timeout: opts.KeepAliveTimeout}),
		grpc.MaxConcurrentStreams(opts.MaxConcurrentStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
	}
}
