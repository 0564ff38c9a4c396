package replicas

import (
	"bufio"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metric reads one sample of /metrics.
func (r *replica) metric(t *testing.T, name string) float64 {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Target+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return n
		}
	}
	t.Fatalf("%s has no metric %s", r.name, name)
	return 0
}

// clockTicks is the number of ticks per second in /proc, the same on every Linux that Go supports.
const clockTicks = 100

// cpu returns the processor time that the replica has used.
func (r *replica) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(r.Pid()) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	// The fields follow the name in parentheses: the first is the state, the 12th and 13th are user and system time.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}

// percentile returns a percentile of durations, which it sorts.
func percentile(list []time.Duration, p float64) time.Duration {
	slices.Sort(list)
	return list[min(int(p/100*float64(len(list))), len(list)-1)].Round(10 * time.Microsecond)
}
