package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// NewCredentials returns credentials for a gRPC server that serves a [Queue]. They do no handshake: the dispatcher has
// done it, and its TLS state, with the client's certificate, becomes the AuthInfo of the peer. other observes the
// connections that do not come from the dispatcher.
func NewCredentials(other Observer) credentials.TransportCredentials { return handshaken{other} }

type handshaken struct{ other Observer }

// observed is the AuthInfo of connections of a [Queue].
type observed interface{ connectionObserver() Observer }

// securePeer is the AuthInfo of a connection with TLS.
type securePeer struct {
	credentials.TLSInfo
	observer Observer
}

func (p securePeer) connectionObserver() Observer { return p.observer }

// plainPeer is the AuthInfo of a connection without TLS.
type plainPeer struct {
	credentials.CommonAuthInfo
	observer Observer
}

func (p plainPeer) connectionObserver() Observer { return p.observer }

func (plainPeer) AuthType() string { return "insecure" }

func (h handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	observer := h.other
	if client := connectionOf(conn); client != nil {
		observer = client.observer
	}
	if state := tlsStateOf(conn); state != nil {
		return conn, securePeer{credentials.TLSInfo{
			State:          *state,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}, observer}, nil
	}
	return conn, plainPeer{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, observer}, nil
}

func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server credentials cannot be used by a client")
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls or plain text"}
}

func (h handshaken) Clone() credentials.TransportCredentials { return h }

func (handshaken) OverrideServerName(string) error { return nil }

// ObserverOf returns the observer of the connection that a gRPC request came from, over gRPC's own transport or over
// net/http. It returns nil if the connection has none.
func ObserverOf(ctx context.Context) Observer {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(observed); ok {
			return info.connectionObserver()
		}
	}
	if client := connectionOf(connOf(ctx)); client != nil {
		return client.observer
	}
	return nil
}

// PeerTLS returns the TLS state of the connection that a gRPC request came from, which may also be one of another
// server's transport. It returns nil for plain text.
func PeerTLS(ctx context.Context) *tls.ConnectionState {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	switch info := p.AuthInfo.(type) {
	case securePeer:
		return &info.State
	case credentials.TLSInfo:
		return &info.State
	}
	return nil
}

// VerifiedName returns the common name of the verified certificate of a connection. state is nil for plain text.
func VerifiedName(state *tls.ConnectionState) (string, bool) {
	if state == nil {
		return "", false
	}
	for _, chain := range state.VerifiedChains {
		if len(chain) > 0 {
			return chain[0].Subject.CommonName, true
		}
	}
	return "", false
}
