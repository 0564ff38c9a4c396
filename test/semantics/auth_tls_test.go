package semantics

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// certificates are signed by one authority, which is one of them.
type certificates struct {
	*testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	c := &certificates{T: t, dir: t.TempDir()}
	c.cert, c.key = c.issue("ca", "ca")
	return c
}

// issue writes file.crt and file.key.
func (c *certificates) issue(file, commonName string) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: c.cert == nil,
	}
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		c.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		c.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(c.path(file+name), pem.EncodeToMemory(block), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.Fatal(err)
	}
	return cert, key
}

func (c *certificates) path(name string) string { return filepath.Join(c.dir, name) }

// client is the configuration of whoever shows that certificate.
func (c *certificates) client(file string) *tls.Config {
	c.Helper()
	pair, err := tls.LoadX509KeyPair(c.path(file+".crt"), c.path(file+".key"))
	if err != nil {
		c.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
}

func (c *certificates) dial(file string) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(c.client(file)))}
}

// TestAuthByCertificate knows users by the common names of their certificates.
func TestAuthByCertificate(t *testing.T) {
	t.Parallel()
	certs := newCertificates(t)
	certs.issue("server", "server")
	for _, name := range []string{"root", "reader", "stranger"} {
		certs.issue(name, name)
	}
	certs.issue("nameless", "")
	common := []string{"--client-cert-auth", "--trusted-ca-file", certs.path("ca.crt"), cheapPasswords}
	run := func(name, address string) {
		t.Run(name, func(t *testing.T) {
			runAll(t, &target.Target{Name: name, Address: address}, []rule{{"by certificate", func(e *env) { byCertificate(e, certs) }}})
		})
	}
	if !target.Variant() {
		args := append([]string{"--cert-file", certs.path("server.crt"), "--key-file", certs.path("server.key")}, common...)
		run("etcd", etcd.Start(t, etcd.Options{Args: args, TLS: certs.dial("root")}).Target)
	}
	args := append([]string{"--server-cert-file", certs.path("server.crt"), "--server-key-file", certs.path("server.key")}, common...)
	run("stele", stele.Start(t, stele.Options{Args: args, TLS: certs.dial("root")}).Target)
}

func byCertificate(e *env, certs *certificates) {
	by := func(file string) *grpc.ClientConn { return connect.GRPC(e.T, e.Address, certs.dial(file)...) }
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

	// A token is more than a certificate, even a bad one.
	a, err := pb.NewAuthClient(reader).Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "root", Password: "root"})
	token := must(e, a, err).Token
	fails(e, codes.OK, "", 0, read(reader, []byte("other"), "token", token))
	fails(e, codes.Unauthenticated, invalidToken, 0, read(root, e.key("k"), "token", "no"))
	// A gateway's certificate is its own.
	fails(e, codes.InvalidArgument, noName, 0, read(root, e.key("k"), "grpcgateway-accept", "*/*"))

	post := func(file string, header ...string) string {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: certs.client(file)}}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, "https://"+e.Address+"/v3/kv/range", strings.NewReader(`{"key":"`+e.encoded("k")+`"}`))
		must(e, 0, err)
		req.Header.Set("Accept", "*/*") // without it, etcd takes the gateway's own certificate for the client's
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
	equal(e, "gateway, nameless with a token", strings.HasPrefix(post("nameless", "Authorization", token), "200 "), true)
}
