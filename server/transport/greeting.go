package transport

import "net"

// greeting is a connection whose first bytes were read to detect its protocol.
type greeting struct {
	net.Conn
	// unread is data that was received and not yet returned by Read.
	unread []byte
	// speaksHTTP1 is set during the TLS handshake if the client offers HTTP/1.1.
	speaksHTTP1 bool
}

// speaksHTTP2 reads until the first bytes show whether the client speaks HTTP/2.
func (g *greeting) speaksHTTP2() (bool, error) {
	const preface = "PRI"
	var buf [len(preface)]byte
	n := 0
	for n < len(buf) && string(buf[:n]) == preface[:n] {
		m, err := g.Conn.Read(buf[n:])
		n += m
		if err != nil {
			return false, err
		}
	}
	g.unread = buf[:n]
	return string(buf[:n]) == preface, nil
}

func (g *greeting) Read(p []byte) (int, error) {
	if len(g.unread) > 0 {
		n := copy(p, g.unread)
		g.unread = g.unread[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}
