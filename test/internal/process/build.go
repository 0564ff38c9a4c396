package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

// RaceEnabled is true if servers are built with the race detector: if STELE_TEST_RACE is set, or if the test itself was
// built with it.
var RaceEnabled = raceEnabled || os.Getenv("STELE_TEST_RACE") != ""

// Program is a Go program to build.
type Program struct {
	// Name is the name of the binary, unique among the programs of a test process.
	Name string
	// Package is built in the module of Dir, which is relative to the directory of the tests' module.
	Package, Dir string
	// Race builds with the race detector.
	Race bool
	// Overlay is passed to go build, if it is not empty.
	Overlay string
}

var built struct {
	sync.Mutex
	once map[Program]func() (string, error)
}

// Binary builds p once per test process, and links (or copies) it into dir.
func (p Program) Binary(t testing.TB, dir string) string {
	t.Helper()
	built.Lock()
	if built.once == nil {
		built.once = map[Program]func() (string, error){}
	}
	build, ok := built.once[p]
	if !ok {
		build = sync.OnceValues(p.build)
		built.once[p] = build
	}
	built.Unlock()

	path, err := build()
	if err != nil {
		t.Fatalf("build %s: %v", p.Package, err)
	}
	return Link(t, path, dir)
}

// Link links or copies the binary at path into dir.
func Link(t testing.TB, path, dir string) string {
	t.Helper()
	own := filepath.Join(dir, filepath.Base(path))
	if err := link(path, own); err != nil {
		t.Fatalf("link %s: %v", path, err)
	}
	return own
}

// build writes the binary to the user's cache directory, where go build finds it up to date the next time.
func (p Program) build() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "stele-test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name, args := p.Name, []string{"build"}
	if p.Race {
		// Without -trimpath, as the tests of the product's packages are built.
		name, args = name+"-race", append(args, "-race", "-trimpath=false")
	} else {
		args = append(args, "-trimpath")
	}
	if p.Overlay != "" {
		args = append(args, "-overlay", p.Overlay)
	}
	path := filepath.Join(dir, name)
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	cmd := exec.Command("go", append(args, "-o", path, p.Package)...)
	root, err := database.Root()
	if err != nil {
		return "", err
	}
	cmd.Dir = filepath.Join(root, "test", p.Dir)
	// As it is released, and as all tests without the race detector are built, so that its packages are compiled
	// once.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if p.Race {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // the race detector needs it
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	// Another test process may replace the file by the next build while this one still needs it.
	own := fmt.Sprintf("%s-%d", path, os.Getpid())
	_ = os.Remove(own)
	if err := os.Link(path, own); err != nil {
		return "", err
	}
	sweep(path)
	return own, nil
}

// sweep removes files of test processes that have ended.
func sweep(path string) {
	left, _ := filepath.Glob(path + "-[0-9]*")
	for _, file := range left {
		var pid int
		if _, err := fmt.Sscanf(file[len(path):], "-%d", &pid); err != nil || pid == os.Getpid() {
			continue
		}
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.Remove(file)
		}
	}
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

func link(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		_ = dst.Close()
		return err
	}
	return dst.Close()
}
