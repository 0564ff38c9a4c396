package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// connKey is the context key of the connection of an HTTP request.
type connKey struct{}

// HTTPContext returns the context of a connection that net/http serves. It is for [http.Server.ConnContext].
func HTTPContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

func connOf(ctx context.Context) net.Conn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	return conn
}

// RequestTLS returns the TLS state of the connection of an HTTP request, and nil for plain text. net/http does not
// always see the state, because the dispatcher has done the handshake.
func RequestTLS(r *http.Request) *tls.ConnectionState { return tlsStateOf(connOf(r.Context())) }
