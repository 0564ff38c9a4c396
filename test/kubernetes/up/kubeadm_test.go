package up

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/stele"
)

// kubernetesVersion is the version of kubeadm's module. Without it kubeadm would ask the internet for the newest
// version.
const kubernetesVersion = "v1.36.3"

// TestKubeadm checks the page's configuration with kubeadm. The configuration must be valid, and kubeadm must accept
// Stele as an external etcd and start the API server accordingly. The test changes nothing on this machine.
func TestKubeadm(t *testing.T) {
	dir := t.TempDir()
	certificates := exec.Command("bash", "-euo", "pipefail", "-c", blocks(t, "bash")[1])
	certificates.Dir = dir
	if out, err := certificates.CombinedOutput(); err != nil {
		t.Fatalf("make certificates: %v\n%s", err, out)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	store := stele.New(t, stele.Options{Plain: true, Args: []string{
		"--server-cert-file", file("store.crt"), "--server-key-file", file("store.key"), "--trusted-ca-file",
		file("store-ca.crt"),
	}})

	page := blocks(t, "yaml")[0]
	const addresses = `"https://10.0.0.11:2379", "https://10.0.0.12:2379", "https://10.0.0.13:2379"`
	if !strings.Contains(page, addresses) {
		t.Fatalf("the page's file does not have %s", addresses)
	}
	page = strings.ReplaceAll(page, addresses, `"https://`+store.Target+`"`)
	page = strings.ReplaceAll(page, "/etc/kubernetes/pki", dir) + "kubernetesVersion: " + kubernetesVersion + "\n"
	config := file("kubeadm.yaml")
	if err := os.WriteFile(config, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}

	binary := buildKubeadm(t)
	kubeadm := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("timeout", append([]string{"120", binary}, args...)...)
		cmd.Env = environment("KUBEADM_INIT_DRYRUN_DIR="+file("dry-run"), "HOME="+dir)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kubeadm %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	kubeadm("config", "validate", "--config", config)

	// Other missing requirements of this machine are only warnings.
	preflight := func() string {
		return kubeadm("init", "phase", "preflight", "--dry-run", "--ignore-preflight-errors=all", "--config", config)
	}
	const check = "ExternalEtcdVersion"
	if out := preflight(); !strings.Contains(out, check) {
		t.Errorf("kubeadm does not say that nothing answers as etcd:\n%s", out)
	}
	if err := store.Exec(); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(store.Logs(), "  connect ") {
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-store.Exited():
			t.Fatal("stele ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if out := preflight(); strings.Contains(out, check) {
		t.Errorf("kubeadm refuses Stele as an external etcd:\n%s", out)
	}

	kubeadm("init", "phase", "control-plane", "apiserver", "--dry-run", "--config", config)
	manifest, err := os.ReadFile(file("dry-run/kube-apiserver.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{
		"--etcd-servers=https://" + store.Target,
		"--etcd-cafile=" + file("store-ca.crt"),
		"--etcd-certfile=" + file("apiserver-etcd-client.crt"),
		"--etcd-keyfile=" + file("apiserver-etcd-client.key"),
	} {
		if !strings.Contains(string(manifest), "- "+flag+"\n") {
			t.Errorf("the API server would start without %s:\n%s", flag, manifest)
		}
	}
}

// buildKubeadm returns the path of kubeadm.
func buildKubeadm(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kubeadm")
	cmd := exec.Command("nice", "go", "build", "-trimpath", "-ldflags",
		"-X k8s.io/component-base/version.gitVersion="+kubernetesVersion,
		"-o", binary, "k8s.io/kubernetes/cmd/kubeadm")
	cmd.Dir = "../kubeadm"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build kubeadm: %v\n%s", err, out)
	}
	return binary
}
