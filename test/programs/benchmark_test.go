package programs

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stele-db/stele/test/internal/target"
)

// benchmarks are calls of etcd's benchmark tool.
var benchmarks = []struct {
	args string
	// leases is true if the benchmark needs etcd's leases.
	leases bool
	// requests is how many requests the report counts; 0 is any number.
	requests int
}{
	{args: "put --total=400 --key-space-size=100 --val-size=100", requests: 400},
	{
		args: "put --total=400 --sequential-keys --key-space-size=50 --compact-interval=50ms " +
			"--compact-index-delta=20 --check-hashkv",
		requests: 400,
	},
	{args: "range foo --total=300", requests: 300},
	{args: "range a z --total=300 --limit=10 --consistency=s", requests: 300},
	{args: "range a z --total=300 --count-only", requests: 300},
	{args: "txn-put --total=200 --txn-ops=8 --key-space-size=50", requests: 200},
	{args: "txn-mixed foo --total=300 --key-space-size=50"},
	{args: "txn-mixed a --end-key=z --total=300 --key-space-size=50 --limit=10 --consistency=s --rw-ratio=4"},
	// 10 watchers are created, and the tool waits for 500 events.
	{args: "watch --streams=2 --watch-per-stream=5 --watched-key-total=10 --put-total=50", requests: 10 + 500},
	{args: "watch-get --watchers=20 --events=4"},
	{args: "watch-latency --streams=2 --watchers-per-stream=5 --put-total=50 --put-rate=500 --prevkv"},
	{args: "stm --total=200 --keys=10 --keys-per-txn=3", requests: 200},
	{args: "stm --total=200 --keys=4 --isolation=c", requests: 200},
	{args: "stm --total=200 --keys=4 --isolation=s", requests: 200},
	{args: "stm --total=200 --keys=4 --isolation=ss", requests: 200},
	{args: "lease-keepalive --total=200", requests: 200, leases: true},
	{args: "stm --total=40 --keys=4 --stm-locker=lock-client", requests: 40, leases: true},
	{args: "stm --total=40 --keys=4 --stm-locker=lock-rpc", requests: 40, leases: true},
}

// TestBenchmark runs each subcommand of etcd's benchmark with a small load: no request may fail.
func TestBenchmark(t *testing.T) {
	t.Parallel()
	benchmark := pinned(t, "benchmark", "go.etcd.io/etcd/v3/tools/benchmark")
	onEach(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) {
		for _, b := range benchmarks {
			if b.leases && strings.HasSuffix(t.Name(), modeTTL) {
				continue
			}
			args := append([]string{"--endpoints=" + server.Address, "--conns=2", "--clients=6"},
				strings.Fields(b.args)...)
			out := benchmark.run(t, args...)
			if strings.Contains(out, "Error distribution") || !strings.Contains(out, "Summary:") {
				t.Errorf("benchmark %s:\n%s", b.args, out)
			}
			if n := reported(t, out); n == 0 || b.requests != 0 && n != b.requests {
				t.Errorf("benchmark %s reports %d requests, want %d:\n%s", b.args, n, b.requests, out)
			}
		}
	})
}

// bar is a line of a histogram of response times.
var bar = regexp.MustCompile(`(?m)^ +[0-9.]+ \[(\d+)\]`)

// reported returns the number of requests in a report's histograms.
func reported(t *testing.T, report string) int {
	t.Helper()
	sum := 0
	for _, match := range bar.FindAllStringSubmatch(report, -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
