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
// client of the gRPC server beside it, through a pipe in memory, so whatever holds for gRPC requests holds for its own.
type gateway struct {
	conn *grpc.ClientConn
	mux  *runtime.ServeMux
	// certificates tells whether clients are known by their certificates: then they must not take it that they are
	// here, too.
	certificates func() bool
}

// newGateway makes a gateway to the server that serves queue.
func newGateway(queue *connQueue, a *authorizer) (*gateway, error) {
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // it does not leave the process
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

// currentPath translates etcd's name of the API from before it was finished.
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

// tlsKey is where the context of a request has the TLS state that net/http does not see, because the dispatcher looked
// at the first bytes.
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

// tlsState is nil for plain text.
func tlsState(r *http.Request) *tls.ConnectionState {
	if r.TLS != nil {
		return r.TLS
	}
	state, _ := r.Context().Value(tlsKey{}).(*tls.ConnectionState)
	return state
}

func (g *gateway) close() error { return g.conn.Close() }
