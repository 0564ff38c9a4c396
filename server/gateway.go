package server

import (
	"context"
	"crypto/tls"
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

// newGateway makes a gateway to the server that serves queue.
func newGateway(queue *connQueue, a *authorizer) (*gateway, error) {
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the data stay in the process
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			client, server := net.Pipe()
			queue.push(server)
			return client, nil
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, err
	}
	g := &gateway{conn: conn, certificates: a.byCertificate, mux: runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{
		Marshaler: &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
		},
	}))}
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gw.RegisterKVHandler, gw.RegisterWatchHandler, gw.RegisterLeaseHandler, gw.RegisterClusterHandler, gw.RegisterMaintenanceHandler, gw.RegisterAuthHandler,
		v3lockgw.RegisterLockHandler, v3electiongw.RegisterElectionHandler,
	} {
		if err := register(context.Background(), g.mux, conn); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Path = currentPath(r.URL.Path)
	if state := tlsState(r); state != nil && g.certificates() {
		if name, ok := verifiedName(state); ok && name != "" {
			http.Error(w, "CommonName of client sending a request against gateway will be ignored and not used as expected", http.StatusBadRequest)
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

// tlsKey is the context key of the TLS state of a request. net/http does not see that state, because the dispatcher has
// done the handshake and read the first bytes.
type tlsKey struct{}

func withTLSState(ctx context.Context, conn net.Conn) context.Context {
	if g, ok := conn.(*greeting); ok {
		if secured, ok := g.Conn.(*tls.Conn); ok {
			state := secured.ConnectionState()
			return context.WithValue(ctx, tlsKey{}, &state)
		}
	}
	return ctx
}

// tlsState returns nil for plain text.
func tlsState(r *http.Request) *tls.ConnectionState {
	if r.TLS != nil {
		return r.TLS
	}
	state, _ := r.Context().Value(tlsKey{}).(*tls.ConnectionState)
	return state
}

func (g *gateway) close() error { return g.conn.Close() }
