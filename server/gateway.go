package server

import (
	"context"
	"math"
	"net"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.etcd.io/etcd/api/v3/etcdserverpb/gw"
	v3electiongw "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb/gw"
	v3lockgw "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb/gw"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/stele-db/stele/server/transport"
)

// gateway serves etcd's API as JSON over HTTP: POST /v3/kv/put and so on, with keys and values in base64. It is a
// client of the gRPC server in the same process, through a pipe in memory, so its requests are treated like all other
// gRPC requests.
type gateway struct {
	conn *grpc.ClientConn
	mux  *runtime.ServeMux
	// certificates reports whether client certificates identify users. The gateway then refuses clients with a named
	// certificate, because the gRPC server does not see it and the client would not be the user that it expects.
	certificates func() bool
}

// newGateway makes a gateway to the server that serves queue. certificates reports whether client certificates identify
// users.
func newGateway(queue *transport.Queue, certificates func() bool) (*gateway, error) {
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the data stay in the process
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			client, server := net.Pipe()
			queue.Push(server)
			return client, nil
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, err
	}
	marshaler := &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}}
	mux := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler))
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gw.RegisterKVHandler, gw.RegisterWatchHandler, gw.RegisterLeaseHandler,
		gw.RegisterClusterHandler, gw.RegisterMaintenanceHandler, gw.RegisterAuthHandler,
		v3lockgw.RegisterLockHandler, v3electiongw.RegisterElectionHandler,
	} {
		if err := register(context.Background(), mux, conn); err != nil {
			return nil, err
		}
	}
	return &gateway{conn: conn, mux: mux, certificates: certificates}, nil
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Path = currentPath(r.URL.Path)
	if g.certificates() {
		if name, ok := transport.VerifiedName(transport.RequestTLS(r)); ok && name != "" {
			http.Error(w, "CommonName of client sending a request against gateway "+
				"will be ignored and not used as expected", http.StatusBadRequest)
			return
		}
	}
	g.mux.ServeHTTP(w, r)
}

// currentPath translates paths with the prefix /v3beta/, an older name of etcd's API, to /v3/.
func currentPath(path string) string {
	if rest, beta := strings.CutPrefix(path, "/v3beta/"); beta {
		return "/v3/" + rest
	}
	return path
}

// clientStream reports whether a client may send any number of messages in the body of a request to path.
func clientStream(path string) bool {
	path = currentPath(path)
	return path == "/v3/watch" || path == "/v3/lease/keepalive"
}

func (g *gateway) close() error { return g.conn.Close() }
