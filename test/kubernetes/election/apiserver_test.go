package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
)

// apiServer is a kube-apiserver.
type apiServer struct{ kubeconfig string }

// startAPIServer starts a kube-apiserver that runs until the end of the test. It makes its own certificates.
func startAPIServer(t *testing.T, store string) *apiServer {
	t.Helper()
	dir, address, token := t.TempDir(), port.Free(t), rand.Text()
	_, free, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := file("service-account.key", privateKey(t))
	p := process.New(t, process.Config{
		Binary: filepath.Join(binaries(t), "kube-apiserver"),
		Args: []string{
			"--etcd-servers=" + store,
			"--bind-address=127.0.0.1", "--secure-port=" + free, "--cert-dir=" + dir,
			// The API server only records this address. It refuses a loopback address.
			"--advertise-address=192.0.2.1",
			"--token-auth-file=" + file("tokens.csv", token+",admin,admin,system:masters\n"),
			"--authorization-mode=RBAC",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
			"--service-cluster-ip-range=10.96.0.0/16",
		},
		Dir:         dir,
		StopTimeout: 90 * time.Second,
	})
	if err := p.Exec(); err != nil {
		t.Fatal(err)
	}
	a := &apiServer{kubeconfig: file("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: %q}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
`, address, token))}
	a.awaitReady(t, p.Exited())
	return a
}

func (a *apiServer) awaitReady(t *testing.T, exited <-chan struct{}) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-exited:
			t.Fatal("kube-apiserver ended")
		case <-ctx.Done():
			t.Fatalf("kube-apiserver is not ready: %v: %s", err, body)
		}
	}
}

// binaries returns the directory of kube-apiserver: STELE_TEST_KUBERNETES_BIN, or a new build, which takes minutes the
// first time.
func binaries(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("STELE_TEST_KUBERNETES_BIN"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("../build", dir).CombinedOutput(); err != nil {
		t.Fatalf("build the control plane: %v\n%s", err, out)
	}
	return dir
}

func privateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
