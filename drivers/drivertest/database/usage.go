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

// Usage returns the CPU time that this process ("client-us") and the first node ("server-us", with the processes that
// it made) have taken so far, in microseconds.
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

// cpu is the CPU time of a process, of those that it made, and of those that have ended.
func cpu(pid string) (time.Duration, error) {
	const tick = 10 * time.Millisecond // the kernel's for all that reads /proc
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	var total time.Duration
	// Behind the name, which may hold anything: utime, stime, cutime and cstime are the fields 14 to 17.
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
		if more, err := cpu(child); err == nil { // one that has just ended counts with its parent
			total += more
		}
	}
	return total, nil
}
