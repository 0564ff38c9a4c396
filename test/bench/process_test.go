package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// ownProcess returns the test's process, as a process whose usage can be read.
func ownProcess() *process { return &process{pid: os.Getpid(), exited: make(chan struct{})} }

func TestUsage(t *testing.T) {
	p := ownProcess()
	before, err := usageOf(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	dir, err := makeRunDir("") // t.TempDir may be in memory, where nothing is counted
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	deviceBefore, err := deviceWritten(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := usageOf(p.pid)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.since(before).written; got < size || got > 2*size {
		t.Errorf("%d bytes were counted for a write of %d", got, size)
	}
	deviceAfter, err := deviceWritten(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Other processes write too.
	if got := deviceAfter - deviceBefore; deviceBefore > 0 && got < size {
		t.Errorf("the disk counted %d bytes for a write of %d", got, size)
	}
	if after.rss < 1<<20 {
		t.Errorf("a resident size of %d bytes", after.rss)
	}
	own, err := ownCPU()
	if err != nil {
		t.Fatal(err)
	}
	var children syscall.Rusage // those that ended: other tests have started some
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children); err != nil {
		t.Fatal(err)
	}
	own += time.Duration(children.Utime.Nano() + children.Stime.Nano())
	// Both figures count the same, but /proc counts ended children in steps of 10 ms.
	if difference := own - after.cpu; difference.Abs().Milliseconds() > 200 {
		t.Errorf("usageOf says %s of CPU time, getrusage %s", after.cpu, own)
	}
}

func TestShortCPUTimeIsCounted(t *testing.T) {
	before, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.cpu <= before.cpu {
		t.Errorf("%s of CPU time before reading it once more, %s after", before.cpu, after.cpu)
	}
	// Linux has no process IDs above 1<<22.
	if _, err := cpuOf(1 << 23); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a process that does not exist: %v", err)
	}
}

func TestRunDirIsOnADisk(t *testing.T) {
	if _, err := makeRunDir("/dev/shm"); err == nil {
		t.Error("a directory in memory was accepted")
	}
	dir, err := makeRunDir("")
	if err != nil {
		t.Fatal(err)
	}
	if _, disk, err := fileSystem(dir); err != nil || !disk {
		t.Errorf("chose %s: disk %t, %v", dir, disk, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}
