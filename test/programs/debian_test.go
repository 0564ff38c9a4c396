package programs

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// apt lets one test at a time install packages.
var apt sync.Mutex

// installed returns the path of a program, after installing the Debian packages that hold it when it is missing. It skips the
// test where it may not install them.
func installed(t *testing.T, program string, packages ...string) string {
	t.Helper()
	apt.Lock()
	defer apt.Unlock()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		t.Skipf("%s is missing: install the Debian packages %v", program, packages)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apt-get install %v: %v\n%s", packages, err, out)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v are installed, but %s is not there", packages, program)
	}
	return path
}
