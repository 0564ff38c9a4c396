package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// handshaken tells grpc about connections that the dispatcher has secured already: the TLS state, with the client's
// certificate, becomes the peer's AuthInfo.
type handshaken struct{}

func (handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	inner := conn
	if g, ok := inner.(*greeting); ok {
		inner = g.Conn
	}
	if secured, ok := inner.(*tls.Conn); ok {
		return conn, credentials.TLSInfo{
			State:          secured.ConnectionState(),
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}, nil
	}
	return conn, plainText{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
}

func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server credentials cannot be used by a client")
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls or plain text"}
}

func (c handshaken) Clone() credentials.TransportCredentials { return c }

func (handshaken) OverrideServerName(string) error { return nil }

// plainText is the AuthInfo of a connection without TLS.
type plainText struct{ credentials.CommonAuthInfo }

func (plainText) AuthType() string { return "insecure" }
