package memory

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestAvailable(t *testing.T) {
	const meminfo = "MemFree: 12 kB\nMemTotal:       16318480 kB\n"
	const physical = 16318480 << 10
	for _, test := range []struct {
		name  string
		files map[string]string
		limit int64
		want  int64
	}{
		{"nothing is known", nil, math.MaxInt64, 0},
		{"physical memory", map[string]string{"proc/meminfo": meminfo}, math.MaxInt64, physical},
		{"GOMEMLIMIT", map[string]string{"proc/meminfo": meminfo}, 1 << 30, 1 << 30},
		{"a group without a limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n",
		}, math.MaxInt64, physical},
		{"version 2, the limit of a group above", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/b/memory.max": "2000000\n",
		}, math.MaxInt64, 1000000},
		{"version 2 in a container", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../host/path\n", "sys/fs/cgroup/memory.max": "3000000\n",
		}, math.MaxInt64, 3000000},
		{"version 1", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1f2e\n",
			"sys/fs/cgroup/memory/docker/1f2e/memory.limit_in_bytes": "4000000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":             "9223372036854771712\n",
		}, math.MaxInt64, 4000000},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range test.files {
				file := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := availableIn(root, test.limit); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

// The machine that runs the test reports its memory.
func TestAvailableHere(t *testing.T) {
	if _, err := os.Stat("/proc/meminfo"); err != nil {
		t.Skip("there is no /proc/meminfo")
	}
	if got := Available(); got < 1<<20 {
		t.Errorf("%d bytes", got)
	}
}
