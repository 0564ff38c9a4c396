package transport

import (
	"crypto/tls"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

func TestPeerTLSHasClientCertificate(t *testing.T) {
	ca := tlstest.New(t)
	certs := serverCertificates(t, ca, CertificateOptions{TrustedCAFile: ca.CAFile()})
	l := listen(t, "https://127.0.0.1:0", certs)
	d, _ := dispatch(t, l, Options{HandshakeTimeout: patience, MaxHandshakes: 10, MaxConnections: 10})
	states := make(chan *tls.ConnectionState, 1)
	s := grpc.NewServer(grpc.Creds(NewCredentials(nil)),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			states <- PeerTLS(stream.Context())
			return nil
		}))
	go func() { _ = s.Serve(d.Queues().GRPC) }()
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient(l.Addr().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(clientConfig(t, ca, "alice"))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		_, _ = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	}()
	select {
	case state := <-states:
		if state == nil || len(state.VerifiedChains) == 0 ||
			state.VerifiedChains[0][0].Subject.CommonName != "alice" {
			t.Errorf("got %+v", state)
		}
	case <-time.After(patience):
		t.Fatal("no request arrived")
	}
}
