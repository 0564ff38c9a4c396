package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// handshaken provides grpc with the state of connections that the dispatcher has already secured: the TLS state, with
// the client's certificate, becomes the AuthInfo of the peer.
type handshaken struct {
	// pipe bounds the responses to the JSON gateway, whose pipe is not a client's connection.
	pipe *mailbox
}

// peerInfo is the AuthInfo of connections that come from the dispatcher.
type peerInfo interface{ mailbox() *mailbox }

// securePeer is the AuthInfo of a connection with TLS.
type securePeer struct {
	credentials.TLSInfo
	mail *mailbox
}

func (p securePeer) mailbox() *mailbox { return p.mail }

func (c handshaken) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	mail := c.pipe
	if client := connectionOf(conn); client != nil {
		mail = client.mail
	}
	inner := conn
	if g, ok := inner.(*greeting); ok {
		inner = g.Conn
	}
	if secured, ok := inner.(*tls.Conn); ok {
		return conn, securePeer{credentials.TLSInfo{
			State:          secured.ConnectionState(),
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}, mail}, nil
	}
	return conn, plainText{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, mail}, nil
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
type plainText struct {
	credentials.CommonAuthInfo
	mail *mailbox
}

func (p plainText) mailbox() *mailbox { return p.mail }

func (plainText) AuthType() string { return "insecure" }
