package kubernetes

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// resultsDir has the results, and the logs of set-ups that failed.
const resultsDir = "results"

// reference has measurements of etcd 3.7 on another machine, by check, to show the order of magnitude. The set-up etcd
// measures etcd on this machine.
var reference = map[string]string{
	"API server ready":         "2.5 s",
	"deployments":              "0.8 s",
	"scale":                    "3.6 s with the next",
	"consistent lists":         "p50 11 ms, p95 49 ms",
	"fresh cache":              "mean 1-4 ms",
	"POST to watch event":      "p50 21 ms",
	"namespace deletion":       "5.4 s",
	"compaction":               "at once",
	"object too large refused": "refused",
}

// result is the result of a check in a set-up.
type result struct {
	Setup string `json:"setup"`
	Check string `json:"check"`
	// Result is "ok" or "FAILED".
	Result string `json:"result"`
	// Seconds is the time of the check, including its preparation.
	Seconds float64 `json:"seconds"`
	// Measured is the measurement: "p50 11 ms, p95 49 ms".
	Measured  string `json:"measured,omitempty"`
	Reference string `json:"reference,omitempty"`
}

// report collects results. Its methods may be called from any goroutine.
type report struct {
	mu      sync.Mutex
	results []result
}

// check runs one check as a subtest, records its result, and reports whether it passed. If parallel is true, it runs in
// parallel with the other such checks of the same t.Run.
func (r *report) check(t *testing.T, setup, name string, parallel bool, do func(t *testing.T) (measured string)) bool {
	t.Helper()
	// The table has the order in which the checks start, not the order in which they end.
	r.mu.Lock()
	at := len(r.results)
	r.results = append(r.results, result{Setup: setup, Check: name, Result: "not run", Reference: reference[name]})
	r.mu.Unlock()
	return t.Run(name, func(t *testing.T) {
		if parallel {
			t.Parallel()
		}
		begin, measured := time.Now(), ""
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			one := &r.results[at]
			one.Seconds = time.Since(begin).Round(time.Millisecond).Seconds()
			one.Measured = measured
			one.Result = "ok"
			if t.Failed() {
				one.Result = "FAILED"
			}
		}()
		measured = do(t)
		t.Log(measured)
	})
}

// print writes the results as a table, one column per set-up, and as resultsDir/results.json.
func (r *report) print(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	data, err := json.MarshalIndent(r.results, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	table := r.table()
	if err := os.MkdirAll(resultsDir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(resultsDir, "results.json"), append(data, '\n'))
	write(t, filepath.Join(resultsDir, "results.md"), []byte(table))
	fmt.Printf("\n%s\n", table)
}

// table returns the results as a Markdown table.
func (r *report) table() string {
	var setups, checks []string
	cells := map[[2]string]string{}
	for _, one := range r.results {
		if !slices.Contains(setups, one.Setup) {
			setups = append(setups, one.Setup)
		}
		if !slices.Contains(checks, one.Check) {
			checks = append(checks, one.Check)
		}
		cell := fmt.Sprintf("%s, %.1f s", one.Result, one.Seconds)
		if one.Measured != "" {
			cell = one.Result + ": " + one.Measured
		}
		cells[[2]string{one.Setup, one.Check}] = cell
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| check | %s | etcd 3.7, elsewhere |\n|---|%s---|\n", strings.Join(setups, " | "),
		strings.Repeat("---|", len(setups)))
	for _, check := range checks {
		fmt.Fprintf(&text, "| %s |", check)
		for _, setup := range setups {
			fmt.Fprintf(&text, " %s |", cells[[2]string{setup, check}])
		}
		fmt.Fprintf(&text, " %s |\n", reference[check])
	}
	return text.String()
}

// percentiles formats durations: "p50 3 ms, p95 9 ms".
func percentiles(durations []time.Duration) string {
	if len(durations) == 0 {
		return "nothing measured"
	}
	sorted := slices.Sorted(slices.Values(durations))
	at := func(p int) time.Duration { return sorted[(len(sorted)-1)*p/100] }
	return fmt.Sprintf("p50 %s, p95 %s", short(at(50)), short(at(95)))
}

// short formats a duration for people: "2.5 s", "31 ms".
func short(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	if d >= 10*time.Millisecond {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
}
