// Package memory determines how much memory the process may use.
package memory

import (
	"bufio"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// Available returns the bytes of memory that the process may use: the lowest of the limits of its control groups, the
// physical memory, and GOMEMLIMIT. It returns 0 if none is known.
func Available() int64 { return availableIn("/", debug.SetMemoryLimit(-1)) }

// availableIn is Available with the root of the file system and the limit of the Go runtime as parameters.
func availableIn(root string, goLimit int64) int64 {
	available := min(goLimit, physical(root), controlGroups(root))
	if available == math.MaxInt64 {
		return 0
	}
	return available
}

// physical returns the total memory in /proc/meminfo, or math.MaxInt64 if it is not known.
func physical(root string) int64 {
	file, err := os.Open(filepath.Join(root, "proc", "meminfo"))
	if err != nil {
		return math.MaxInt64
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // MemTotal: 16318480 kB
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			if err == nil && kilobytes > 0 && kilobytes < math.MaxInt64>>10 {
				return kilobytes << 10
			}
		}
	}
	return math.MaxInt64
}

// controlGroups returns the lowest limit of the process's control groups, of either version, or math.MaxInt64.
func controlGroups(root string) int64 {
	lowest := int64(math.MaxInt64)
	groups, err := os.ReadFile(filepath.Join(root, "proc", "self", "cgroup"))
	if err != nil {
		return lowest
	}
	for line := range strings.Lines(string(groups)) {
		// 0::/system.slice/stele.service or 4:memory:/docker/1f2e
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		switch {
		case fields[0] == "0":
		case fields[1] == "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// The limits of parent groups also apply. In a container the path may be the path on the host; the group is
		// then at the mount point itself.
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			lowest = min(lowest, limit(filepath.Join(root, mount, group, file)))
			if group == "/" {
				break
			}
		}
	}
	return lowest
}

// limit returns the number in a file, or math.MaxInt64 if it has none or holds "max".
func limit(file string) int64 {
	content, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}
