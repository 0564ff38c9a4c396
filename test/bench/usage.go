package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// usage is the consumption of processes since they started, and their current resident size.
type usage struct {
	cpu time.Duration
	// database is the part of cpu that a database server took.
	database time.Duration
	written  int64 // bytes they caused to be written to a disk, as the kernel charges them or the disk counts them
	rss      int64
}

func (u usage) since(start usage) usage {
	return usage{
		cpu: u.cpu - start.cpu, database: u.database - start.database, written: u.written - start.written, rss: u.rss,
	}
}

func (u usage) plus(v usage) usage {
	return usage{
		cpu: u.cpu + v.cpu, database: u.database + v.database, written: u.written + v.written, rss: u.rss + v.rss,
	}
}

// userHZ is the unit of the times in /proc/PID/stat: Linux shows 100 on every architecture that Go supports.
const userHZ = 100

// usageOf reads the clock and /proc of one process, see proc(5). Linux includes the children that ended and were waited
// for. The times in /proc are rounded down to 10 ms for each process: each of the many processes of PostgreSQL may take
// less in a short run.
func usageOf(pid int) (usage, error) {
	var u usage
	root := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(root + "/stat")
	if err != nil {
		return u, err
	}
	// The command's name is in parentheses and may contain any character; the fields after it are numbered from 3.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return u, fmt.Errorf("%s/stat has %d fields", root, len(fields))
	}
	var ticks, pages int64
	for _, f := range []struct {
		index int
		sum   *int64
	}{{16, &ticks}, {17, &ticks}, {24, &pages}} { // the times of children, and the resident pages
		n, err := strconv.ParseInt(fields[f.index-3], 10, 64)
		if err != nil {
			return u, fmt.Errorf("%s/stat: %w", root, err)
		}
		*f.sum += n
	}
	if u.cpu, err = cpuOf(pid); err != nil {
		return u, fmt.Errorf("clock of process %d: %w", pid, err)
	}
	u.cpu += time.Duration(ticks) * time.Second / userHZ
	u.rss = pages * int64(os.Getpagesize())
	// The number includes children that have ended.
	u.written, err = numberIn(root+"/io", "write_bytes:")
	return u, err
}

// cpuOf returns the CPU time of a process without its children, to the nanosecond.
func cpuOf(pid int) (time.Duration, error) {
	// CPUCLOCK_SCHED is the scheduler's clock of the whole process: clock_getcpuclockid(3) computes the same number.
	const scheduler = 2
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid)<<3|scheduler, &t)
	if errors.Is(err, unix.EINVAL) {
		err = syscall.ESRCH // the process has ended
	}
	return time.Duration(t.Nano()), err
}

// usageOfFamily returns the usage of pid and its descendants. The resident size divides shared pages among their
// processes.
func usageOfFamily(pid int) (usage, error) {
	for try := 1; ; try++ {
		u, err := usageOfMembers(family(pid))
		// A process that ends meanwhile counts for its parent, whose figures were read before.
		if gone := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH); !gone || try == 10 {
			return u, err
		}
	}
}

func usageOfMembers(members []int) (usage, error) {
	var sum usage
	for _, pid := range members {
		u, err := usageOf(pid)
		if err != nil {
			return usage{}, err
		}
		u.rss, err = numberIn(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		// A process that has ended and waits for its parent has no memory any more.
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return usage{}, err
		}
		u.rss *= 1024
		sum = sum.plus(u)
	}
	return sum, nil
}

// family returns pid and its living descendants.
func family(pid int) []int {
	members := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return members // it has ended
	}
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			members = append(members, family(child)...)
		}
	}
	return members
}

// numberIn returns the number that follows label at the start of a line.
func numberIn(file, label string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, label); ok {
			value, _, _ := strings.Cut(strings.TrimSpace(rest), " ") // a unit may follow
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, label)
}

// ownCPU returns the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0, err
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}
