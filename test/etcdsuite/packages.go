package etcdsuite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const tests = "go.etcd.io/etcd/tests/v3"

// A suite is a package of etcd's tests.
type suite struct {
	// name is unique; dir is the directory in etcd's tests.
	name, dir string
	tags      string
	// serial suites use fixed ports.
	serial bool
}

var suites = []suite{
	{name: "integration", dir: "integration"},
	{name: "clientv3", dir: "integration/clientv3"},
	{name: "concurrency", dir: "integration/clientv3/concurrency"},
	{name: "connectivity", dir: "integration/clientv3/connectivity"},
	{name: "examples", dir: "integration/clientv3/examples"},
	{name: "recipes", dir: "integration/clientv3/experimental/recipes"},
	{name: "lease", dir: "integration/clientv3/lease"},
	{name: "naming", dir: "integration/clientv3/naming"},
	{name: "snapshot", dir: "integration/clientv3/snapshot"},
	{name: "watch", dir: "integration/clientv3/watch"},
	{name: "common", dir: "common", tags: "integration"},
	{name: "common-e2e", dir: "common", tags: "e2e", serial: true},
	{name: "e2e", dir: "e2e", tags: "e2e", serial: true},
}

// source is a patched copy of etcd's tests.
type source struct {
	// dir has the copy in tests, a go.mod for it, and the built programs.
	dir string
}

// newSource copies and patches etcd's tests.
func newSource(dir string) (*source, error) {
	s := &source{dir: dir}
	original, err := moduleDir()
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(s.tests(), os.DirFS(original)); err != nil {
		return nil, err
	}
	if err := makeWritable(s.tests()); err != nil {
		return nil, err
	}
	// The test needs a library of the client whose module is not published everywhere.
	if err := os.Remove(filepath.Join(s.tests(), "integration", "cache_test.go")); err != nil {
		return nil, err
	}
	if err := patch(s.tests()); err != nil {
		return nil, err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := copyFile(name, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return s, s.replaceModules()
}

func (s *source) tests() string { return filepath.Join(s.dir, "tests") }

func (s *source) modfile() string { return filepath.Join(s.dir, "go.mod") }

// moduleDir returns the directory of etcd's tests in the module cache.
func moduleDir() (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", tests).Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w", tests, err)
	}
	var module struct{ Dir string }
	err = json.Unmarshal(out, &module)
	return module.Dir, err
}

// makeWritable undoes that the module cache is read-only.
func makeWritable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if entry.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	})
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

// replaceModules makes paths absolute in the go.mod of the copy, which is used in this directory.
func (s *source) replaceModules() error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "mod", "edit",
		"-replace=github.com/stele-db/stele="+root,
		"-replace=github.com/stele-db/stele/test="+filepath.Join(root, "test"),
		"-replace="+tests+"="+s.tests(), s.modfile())
	return output(cmd)
}

// build compiles the tests of a package.
func (s *source) build(p suite) (string, error) {
	binary := filepath.Join(s.dir, p.name+".test")
	return binary, output(exec.Command("go", "test", "-c", "-trimpath", "-vet=off", "-mod=mod", "-modfile", s.modfile(),
		"-tags", p.tags, "-o", binary, tests+"/"+p.dir))
}

// program compiles a command.
func (s *source) program(name, pkg string) (string, error) {
	binary := filepath.Join(s.dir, "bin", name)
	return binary, output(exec.Command("go", "build", "-trimpath", "-mod=mod", "-modfile", s.modfile(),
		"-o", binary, pkg))
}

// list returns the names of the tests and examples of a test binary.
func (s *source) list(p suite, binary string) ([]string, error) {
	cmd := exec.Command(binary, "-test.list", "^(Test|Example)")
	cmd.Dir = filepath.Join(s.tests(), p.dir)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests of %s: %w", p.name, err)
	}
	return strings.Fields(string(out)), nil
}

// output runs a command and adds its output to the error.
func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", cmd, err), errors.New(string(out)))
	}
	return nil
}
