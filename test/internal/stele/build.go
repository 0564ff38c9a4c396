package stele

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

var (
	buildPlain = sync.OnceValues(func() (string, error) { return build(false) })
	buildRace  = sync.OnceValues(func() (string, error) { return build(true) })
)

// Binary returns the path of a stele binary that belongs to the test: built once per process, linked (or
// copied) into dir.
func Binary(t testing.TB, dir string, race bool) string {
	t.Helper()
	path := os.Getenv("STELE_TEST_BINARY")
	if path == "" {
		var err error
		if race || raceEnabled {
			path, err = buildRace()
		} else {
			path, err = buildPlain()
		}
		if err != nil {
			t.Fatalf("build cmd/stele: %v", err)
		}
	}
	own := filepath.Join(dir, "stele")
	if err := link(path, own); err != nil {
		t.Fatalf("link the stele binary: %v", err)
	}
	return own
}

// build leaves the binary in the user's cache directory, where go build finds it up to date the next time.
func build(race bool) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "stele-test")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name, args := "stele", []string{"build"}
	if race {
		name, args = "stele-race", append(args, "-race")
	}
	path := filepath.Join(dir, name)
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	cmd := exec.Command("go", append(args, "-o", path, "./cmd/stele")...)
	cmd.Dir = root()
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

// sweep removes what test processes left behind that have ended.
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

// root is the directory of the product's module.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
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
