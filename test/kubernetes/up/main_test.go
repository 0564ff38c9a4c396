package up

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

func TestMain(m *testing.M) { os.Exit(database.Main(m)) }

// root is the checkout.
const root = "../../.."

var build = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../build").CombinedOutput()
	return string(out), err
})

// programs returns a directory with all programs: stele of this checkout, and those of Kubernetes.
func programs(t *testing.T) string {
	t.Helper()
	from := os.Getenv("STELE_TEST_KUBERNETES_BIN")
	if from == "" {
		from = "../bin"
		if out, err := build(); err != nil {
			t.Fatalf("build the control plane: %v\n%s", err, out)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "kwok-stages.yaml",
	} {
		link(t, filepath.Join(from, name), filepath.Join(dir, name))
	}
	link(t, stele.Binary(t, t.TempDir(), false), filepath.Join(dir, "stele"))
	return dir
}

func link(t *testing.T, from, to string) {
	t.Helper()
	from, err := filepath.Abs(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(from, to); err != nil {
		t.Fatal(err)
	}
}

// environment returns this process's environment without variables that would affect a program.
func environment(add ...string) []string {
	var env []string
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); name != "KUBECONFIG" && !strings.HasPrefix(name, "STELE_") &&
			!strings.HasPrefix(name, "KINE_") {
			env = append(env, variable)
		}
	}
	return append(env, add...)
}
