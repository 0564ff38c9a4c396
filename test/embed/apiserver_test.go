//go:build kubernetes && linux

package embed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 2 * time.Minute

// apiserver is a kube-apiserver that uses the datastore of a program in the same directory.
type apiserver struct {
	t      *testing.T
	dir    string
	url    string
	client *http.Client
}

// start starts a process in the directory. The process ends with the test, and with this process.
func (a *apiserver) start(binary string, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = a.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(a.dir, filepath.Base(binary)+".log"))
	if err != nil {
		a.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		kill(cmd)
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); a.t.Failed() && err == nil {
			a.t.Logf("%s:\n%s", filepath.Base(binary), text[max(0, len(text)-4000):])
		}
	})
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// request repeats a request until it succeeds with text in the answer, or the test's time is over.
func (a *apiserver) request(method, path, body, text string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		r, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
		if err != nil {
			a.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer token")
		r.Header.Set("Content-Type", "application/json")
		if response, err := a.client.Do(r); err != nil {
			last = err.Error()
		} else {
			answer, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if last = string(answer); err == nil && response.StatusCode < 300 && strings.Contains(last, text) {
				return
			}
		}
		select {
		case <-ctx.Done():
			a.t.Fatalf("%s %s: %s", method, path, last)
		case <-tick.C:
		}
	}
}

// TestAPIServerOnTheSocket runs a real API server on the datastore's socket, with TLS, also after both were killed: the
// remaining socket must not prevent the next start.
func TestAPIServerOnTheSocket(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "../kubernetes/build").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	binary, err := filepath.Abs("../kubernetes/bin/kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	program := build(t, "stele", true)
	dir, err := os.MkdirTemp("", "embed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &apiserver{t: t, dir: dir, client: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // it makes its certificate itself
	}}}
	a.write("tokens.csv", []byte("token,admin,1,system:masters\n"))
	a.write("accounts.key", accountKey(t))

	for _, previous := range []string{"", `"k":"v"`} {
		datastore := a.start(program, "serve")
		port := freePort(t)
		a.url = fmt.Sprintf("https://127.0.0.1:%d", port)
		server := a.start(binary, "--etcd-servers=unixs://kine.sock", "--etcd-cafile=ca.crt",
			fmt.Sprintf("--secure-port=%d", port), "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1",
			"--cert-dir=certificates", "--service-account-issuer=https://issuer",
			"--service-account-key-file=accounts.key", "--service-account-signing-key-file=accounts.key",
			"--service-cluster-ip-range=10.43.0.0/16", "--authorization-mode=RBAC", "--token-auth-file=tokens.csv")
		begin := time.Now()
		a.request(http.MethodGet, "/readyz", "", "ok")
		t.Logf("ready after %v", time.Since(begin).Round(100*time.Millisecond))
		if previous == "" {
			a.request(http.MethodPost, "/api/v1/namespaces/default/configmaps",
				`{"metadata":{"name":"kept"},"data":{"k":"v"}}`, `"uid"`)
		} else {
			a.request(http.MethodGet, "/api/v1/namespaces/default/configmaps/kept", "", previous)
		}
		kill(datastore)
		kill(server)
		if _, err := os.Stat(filepath.Join(dir, "kine.sock")); err != nil {
			t.Errorf("a killed process left no socket: %v", err)
		}
	}
}

func (a *apiserver) write(name string, content []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), content, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func accountKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
