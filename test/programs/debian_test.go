package programs

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// apt is held while a test installs packages.
var apt sync.Mutex

// installed returns the path of a program, after installing the Debian packages that hold it when it is missing. It
// skips the test where it may not install them.
func installed(t *testing.T, program string, packages ...string) string {
	t.Helper()
	var path string
	install(t, func() (err error) {
		path, err = exec.LookPath(program)
		return err
	}, packages...)
	return path
}

// debianPython returns the path of Debian's Python, which may not be the first one of PATH, after installing the
// packages that hold the modules when they are missing. It skips the test where it may not install them.
func debianPython(t *testing.T, modules string, packages ...string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	install(t, func() error {
		return exec.CommandContext(t.Context(), python, "-c", "import "+modules).Run()
	}, packages...)
	return python
}

// install installs the Debian packages if present returns an error. It skips the test where it may not install them.
func install(t *testing.T, present func() error, packages ...string) {
	t.Helper()
	apt.Lock()
	defer apt.Unlock()
	if present() == nil {
		return
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		t.Skipf("install the Debian packages %v", packages)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	get := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--option=DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		return cmd.CombinedOutput()
	}
	args := append([]string{"install", "--yes", "--no-install-recommends"}, packages...)
	out, err := get(args...)
	if err != nil { // a new machine has no list of packages, or an old one
		if out, err = get("update"); err == nil {
			out, err = get(args...)
		}
	}
	if err != nil {
		t.Fatalf("apt-get install %v: %v\n%s", packages, err, out)
	}
	if err := present(); err != nil {
		t.Fatalf("%v are installed, but: %v", packages, err)
	}
}
