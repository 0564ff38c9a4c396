package database

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

var root, errRoot = findRoot()

// Root returns the directory of the repository.
func Root() (string, error) { return root, errRoot }

// findRoot searches the parents of this source file, whose name is relative in binaries built with -trimpath, and of
// the working directory, which is the package's directory in tests.
func findRoot() (string, error) {
	_, source, _, _ := runtime.Caller(0)
	working, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, start := range []string{source, working} {
		for dir := start; filepath.IsAbs(dir) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "scripts", "databases")); err == nil {
				return dir, nil
			}
		}
	}
	return "", errors.New(
		"no directory above " + working + " has scripts/databases: run the tests inside the repository")
}
