package database

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Usage returns the CPU time used so far in microseconds: that of this process ("client-us") and that of the first node
// with its child processes ("server-us").
func (s *Server) Usage(t testing.TB) map[string]float64 {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	server, err := cpu(s.Env(t, "PID_1"))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]float64{
		"client-us": float64(r.Utime.Nano()+r.Stime.Nano()) / 1000,
		"server-us": float64(server.Microseconds()),
	}
}

// cpu returns the CPU time of a process, its children, and its children that have ended.
func cpu(pid string) (time.Duration, error) {
	const tick = 10 * time.Millisecond // the kernel's unit in /proc
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	var total time.Duration
	// Skip the name, which may contain anything. utime, stime, cutime and cstime are the fields 14 to 17.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:15] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("/proc/%s/stat: %w", pid, err)
		}
		total += time.Duration(ticks) * tick
	}
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return 0, err
	}
	for _, child := range strings.Fields(string(children)) {
		if more, err := cpu(child); err == nil { // a child that has just ended is counted in its parent
			total += more
		}
	}
	return total, nil
}
