package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Options configure a server. The zero value is one with its defaults, in plain text.
type Options struct {
	// Args are added to the command line of stele or etcd: both have etcd's names for these flags.
	Args []string
	// TLS is the certificate of the server. Clients must have a certificate of the same authority.
	TLS *TLS
}

// TLS names PEM files.
type TLS struct {
	CertFile, KeyFile, CAFile string
}

// Server serves etcd's API, empty and at revision 1 when it starts.
type Server struct {
	// Endpoints are the URLs of all replicas.
	Endpoints []string

	launch    []func() *process
	processes []*process
}

// Start starts an empty server that lives as long as t.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	client := &http.Client{Timeout: 2 * time.Second}
	scheme := "http://"
	if opts.TLS != nil {
		scheme, client.Transport = "https://", transport(t, opts.TLS)
	}
	s := &Server{}
	add := func(name, url string, command ...string) {
		s.Endpoints = append(s.Endpoints, url)
		s.launch = append(s.launch, func() *process { return run(t, name, url, client, command...) })
	}
	if Kind() == Etcd {
		url := scheme + freePort(t)
		add(Etcd, url, append([]string{program(t, Etcd)}, etcdArgs(t, url, opts)...)...)
	} else {
		dsn := endpoint(t)
		for i := range replicas(t) {
			address := freePort(t)
			add(fmt.Sprintf("stele %d", i+1), scheme+address,
				append([]string{program(t, "stele")}, steleArgs(address, dsn, opts)...)...)
		}
	}
	s.Launch()
	return s
}

// Launch starts the processes, after a kill on the same addresses and data, and waits until they answer.
func (s *Server) Launch() {
	s.processes = nil
	for _, launch := range s.launch {
		s.processes = append(s.processes, launch())
	}
}

// Kill ends all processes as kill -9 does, and waits until they have ended.
func (s *Server) Kill() {
	for _, p := range s.processes {
		p.killed = true
		p.kill()
	}
}

func steleArgs(address, dsn string, opts Options) []string {
	args := []string{"--listen-address", address, "--endpoint", dsn}
	if opts.TLS != nil {
		args = append(args, "--server-cert-file", opts.TLS.CertFile, "--server-key-file", opts.TLS.KeyFile,
			"--trusted-ca-file", opts.TLS.CAFile)
	}
	return append(args, opts.Args...)
}

// etcdArgs returns the arguments of a cluster of one member, whose data need not last.
func etcdArgs(t testing.TB, url string, opts Options) []string {
	t.Helper()
	peer := "http://" + freePort(t)
	args := []string{
		"--data-dir", tempDir(t), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
	}
	if opts.TLS != nil {
		args = append(args, "--cert-file", opts.TLS.CertFile, "--key-file", opts.TLS.KeyFile, "--trusted-ca-file",
			opts.TLS.CAFile, "--client-cert-auth")
	}
	return append(args, opts.Args...)
}

// endpoint returns the DSN of a new database for stele.
func endpoint(t testing.TB) string {
	t.Helper()
	if Kind() == SQLite {
		return "sqlite://" + filepath.Join(tempDir(t), "state.db")
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.database == nil {
		d, err := startDatabase(Kind(), filepath.Join(shared.dir, "database"))
		if err != nil {
			t.Fatal(err)
		}
		shared.database = d
	}
	return shared.database.endpoint()
}

// replicas returns STELE_TEST_REPLICAS, or 1 if that is empty.
func replicas(t testing.TB) int {
	t.Helper()
	text := os.Getenv("STELE_TEST_REPLICAS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("STELE_TEST_REPLICAS: %q is not a number of replicas", text)
	}
	return n
}

// program returns the path of stele or etcd, which it builds on the first call.
func program(t testing.TB, name string) string {
	t.Helper()
	if path := os.Getenv("STELE_TEST_BINARY"); path != "" && name != Etcd {
		return path
	}
	shared.Lock()
	defer shared.Unlock()
	if path, ok := shared.programs[name]; ok {
		return path
	}
	path := filepath.Join(shared.dir, name)
	dir, pkg := root(), "./cmd/stele"
	if name == Etcd {
		dir, pkg = filepath.Join(root(), "test"), "go.etcd.io/etcd/server/v3"
	}
	c := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	shared.programs[name] = path
	return path
}

// The ports are below those that the kernel gives to outgoing connections. A restarted server must not find a client on
// its port.
const firstPort, ports = 15000, 16000

// freePort returns a loopback address on which no process listens.
func freePort(t testing.TB) string {
	t.Helper()
	var last error
	for range 200 {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports))
		l, err := net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
		last = err
	}
	t.Fatalf("no free port: %v", last)
	return ""
}

// transport returns a transport that presents the server's certificate as the client's.
func transport(t testing.TB, files *TLS) *http.Transport {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(files.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: pool, MinVersion: tls.VersionTLS12,
	}}
}
