package server

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

// shared is the state that the tests of this process share, until [Main] ends.
var shared struct {
	sync.Mutex
	dir       string
	programs  map[string]string
	database  *database
	processes map[*process]bool
}

// Main runs the tests and returns the exit code for os.Exit. It leaves no process and no file, also after SIGTERM.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "stele-apiserver-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared.dir, shared.programs, shared.processes = dir, map[string]string{}, map[*process]bool{}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan int, 1)
	go func() { done <- m.Run() }()
	code := 1
	select {
	case code = <-done:
	case s := <-signals:
		fmt.Fprintf(os.Stderr, "%v: stopping what the tests have started\n", s)
	}
	return max(code, cleanup())
}

// cleanup ends the remaining processes.
func cleanup() int {
	shared.Lock()
	defer shared.Unlock()
	for p := range shared.processes {
		p.kill()
	}
	var err error
	if shared.database != nil {
		err = shared.database.stop()
	}
	if err := errors.Join(err, os.RemoveAll(shared.dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// tempDir returns a directory that lives as long as t, or until [Main] ends.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
