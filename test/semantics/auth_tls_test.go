package semantics

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// TestAuthByCertificate identifies users by the common names of their certificates.
func TestAuthByCertificate(t *testing.T) {
	t.Parallel()
	ca := tlstest.New(t)
	serving := ca.Issue(t, "server")
	for _, name := range []string{"root", "reader", "stranger"} {
		ca.Issue(t, name)
	}
	ca.Sign(t, "nameless", &x509.Certificate{})
	common := []string{"--client-cert-auth", "--trusted-ca-file", serving.CAFile, cheapPasswords}
	run := func(name, address string) {
		t.Run(name, func(t *testing.T) {
			runAll(t, &target.Target{Name: name, Address: address}, []rule{
				{"by certificate", func(e *env) { byCertificate(e, ca) }},
			})
		})
	}
	if !target.Variant() {
		args := append([]string{"--cert-file", serving.CertFile, "--key-file", serving.KeyFile}, common...)
		run("etcd", etcd.Start(t, etcd.Options{Args: args, TLS: shows(t, ca, "root")}).Target)
	}
	args := append([]string{"--server-cert-file", serving.CertFile, "--server-key-file", serving.KeyFile}, common...)
	run("stele", stele.Start(t, stele.Options{Args: args, TLS: shows(t, ca, "root")}).Target)
}

// shows returns options to connect with the certificate of that name.
func shows(t *testing.T, ca *tlstest.Authority, name string) []grpc.DialOption {
	t.Helper()
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(ca.Client(t, name)))}
}

func byCertificate(e *env, ca *tlstest.Authority) {
	by := func(name string) *grpc.ClientConn { return connect.GRPC(e.T, e.Address, shows(e.T, ca, name)...) }
	root := by("root")
	m := setup{e.T, e.ctx, pb.NewAuthClient(root)}
	m.user("root", "root")
	m.role("reader", e.prefix, authpb.Permission_READ)
	m.user("reader", "reader")
	m.enable()
	m.role("another", "", 0) // root is still root

	read := func(conn *grpc.ClientConn, key []byte, md ...string) error {
		_, err := pb.NewKVClient(conn).Range(metadata.AppendToOutgoingContext(e.ctx, md...), &pb.RangeRequest{Key: key})
		return err
	}
	status := func(conn *grpc.ClientConn) error {
		_, err := pb.NewMaintenanceClient(conn).Status(e.ctx, &pb.StatusRequest{})
		return err
	}
	compact := func(conn *grpc.ClientConn) error {
		_, err := pb.NewKVClient(conn).Compact(e.ctx, &pb.CompactionRequest{Revision: 1 << 40})
		return err
	}
	reader, stranger, nameless := by("reader"), by("stranger"), by("nameless")
	fails(e, codes.OK, "", 0, read(reader, e.key("k")))
	fails(e, codes.PermissionDenied, denied, 0, read(reader, []byte("other")))
	fails(e, codes.OK, "", 0, read(root, []byte("other")))
	fails(e, codes.PermissionDenied, denied, 0, read(stranger, e.key("k")))
	fails(e, codes.PermissionDenied, denied, 0, read(nameless, e.key("k")))
	fails(e, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision", 0, compact(root))
	fails(e, codes.PermissionDenied, denied, 0, compact(reader))
	fails(e, codes.FailedPrecondition, "etcdserver: user name not found", 0, compact(stranger))
	fails(e, codes.InvalidArgument, noName, 0, compact(nameless))
	fails(e, codes.OK, "", 0, status(stranger))
	fails(e, codes.OK, "", 0, status(nameless))

	// A token takes precedence over the certificate, even an invalid token.
	a, err := pb.NewAuthClient(reader).Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "root", Password: "root"})
	token := must(e, a, err).Token
	fails(e, codes.OK, "", 0, read(reader, []byte("other"), "token", token))
	fails(e, codes.Unauthenticated, invalidToken, 0, read(root, e.key("k"), "token", "no"))
	// The gateway's certificate identifies only the gateway.
	fails(e, codes.InvalidArgument, noName, 0, read(root, e.key("k"), "grpcgateway-accept", "*/*"))

	post := func(name string, header ...string) string {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Client(e.T, name)}}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, "https://"+e.Address+"/v3/kv/range",
			strings.NewReader(`{"key":"`+e.encoded("k")+`"}`))
		must(e, 0, err)
		req.Header.Set("Accept", "*/*") // without it, etcd uses the gateway's own certificate as the client's
		if len(header) > 0 {
			req.Header.Set(header[0], header[1])
		}
		resp, err := client.Do(req)
		must(e, 0, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(e, 0, err)
		return fmt.Sprintf("%d %s", resp.StatusCode, bytes.ReplaceAll(body, []byte(", "), []byte(",")))
	}
	refusal := "400 CommonName of client sending a request against gateway will be ignored and not used as expected\n"
	equal(e, "gateway, root", post("root"), refusal)
	equal(e, "gateway, with a token", post("reader", "Authorization", token), refusal)
	equal(e, "gateway, nameless", post("nameless"), `400 {"code":3,"message":"`+noName+`"}`)
	equal(e, "gateway, nameless with a token",
		strings.HasPrefix(post("nameless", "Authorization", token), "200 "), true)
}
