package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// result is the outcome of one slot. Figures that are 0 were not measured.
type result struct {
	// Rate is the number of operations per second.
	Rate float64 `json:"rate"`
	// P50 and P99 are latencies in microseconds.
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	// Curve has the latencies at curvePercentiles, as many of them as there were enough operations for.
	Curve []float64 `json:"curve_us,omitempty"`
	// WatchP99 is the p99 of the time from sending a write to receiving its event, unless P99 is that.
	WatchP99 float64 `json:"watch_p99_us,omitempty"`
	// ServerCPU and ClientCPU are microseconds per operation; DatabaseCPU is the part of ServerCPU that a database
	// server took.
	ServerCPU   float64 `json:"server_cpu_us"`
	DatabaseCPU float64 `json:"database_cpu_us,omitempty"`
	ClientCPU   float64 `json:"client_cpu_us"`
	// DiskBytes is the number of bytes written to the disk per acknowledged write.
	DiskBytes float64 `json:"disk_bytes_per_write,omitempty"`
	// LeastShare is the share (0 to 1) of the acknowledged writes that went through the replica with the fewest; 0
	// means not counted. Clients are spread evenly, and each continues when its write was acknowledged.
	LeastShare float64 `json:"least_share,omitempty"`
	// Attempts is the number of attempts per operation, if the clients retry until they succeed.
	Attempts float64 `json:"attempts,omitempty"`
	Note     string  `json:"note,omitempty"`
	Error    string  `json:"error,omitempty"`
}

// errNothingDone means that there is no operation to measure.
var errNothingDone = errors.New("no operation was completed")

func newResult(s settings, got sample, server usage, client time.Duration) (result, error) {
	if got.ops == 0 {
		return result{}, fmt.Errorf("%w in %s", errNothingDone, s.duration)
	}
	r := result{
		Rate:        float64(got.ops) / s.duration.Seconds(),
		P50:         micros(percentile(got.latencies, 50)),
		P99:         micros(percentile(got.latencies, 99)),
		Curve:       curve(got.latencies),
		WatchP99:    micros(percentile(got.watch, 99)),
		ServerCPU:   micros(server.cpu) / float64(got.total),
		DatabaseCPU: micros(server.database) / float64(got.total),
		ClientCPU:   micros(client) / float64(got.total),
		Attempts:    float64(got.attempts) / float64(got.total),
		Note:        got.note,
	}
	if got.writes > 0 {
		r.DiskBytes = float64(server.written) / float64(got.writes)
	}
	return r, nil
}

// leastShare returns LeastShare of a sample.
func leastShare(got sample, c *client) float64 {
	if c.replicas == 1 || got.writes == 0 || len(got.byClient) < c.replicas {
		return 0
	}
	byReplica := make([]int64, c.replicas)
	var all int64
	for n, writes := range got.byClient {
		byReplica[c.replica(n)] += writes
		all += writes
	}
	return float64(slices.Min(byReplica)) / float64(max(1, all))
}

func (r result) String() string {
	if r.Error != "" {
		return "FAILED: " + r.Error
	}
	text := fmt.Sprintf("%9.0f/s  p50 %8.0f us  p99 %8.0f us  cpu %6.1f us", r.Rate, r.P50, r.P99, r.ServerCPU)
	if r.DatabaseCPU > 0 {
		text += fmt.Sprintf(" (database %.1f us)", r.DatabaseCPU)
	}
	return strings.TrimSpace(text + "  " + r.remark())
}

// remark returns the remark in the table.
func (r result) remark() string {
	var all []string
	if r.WatchP99 > 0 {
		all = append(all, fmt.Sprintf("watch p99 %.2f ms", r.WatchP99/1000))
	}
	if r.LeastShare > 0 {
		all = append(all, fmt.Sprintf("least share of a replica %.0f %%", 100*r.LeastShare))
	}
	if r.Attempts > 0 {
		all = append(all, fmt.Sprintf("%.1f attempts each", r.Attempts))
	}
	if r.Note != "" {
		all = append(all, r.Note)
	}
	return strings.Join(all, "; ")
}

// medianResult returns the median of every figure over the rounds without error, but the smallest least share. Without
// such a round it returns the first error.
func medianResult(rounds []result) result {
	var good []result
	var m result
	for _, r := range rounds {
		if r.Error == "" {
			good = append(good, r)
		} else if m.Error == "" {
			m.Error = r.Error
		}
		if r.Note != "" {
			m.Note = r.Note
		}
		if r.LeastShare > 0 && (m.LeastShare == 0 || r.LeastShare < m.LeastShare) {
			m.LeastShare = r.LeastShare
		}
	}
	m.Rate = median(figures(good, rate))
	m.P50 = median(figures(good, func(r result) float64 { return r.P50 }))
	m.P99 = median(figures(good, p99))
	m.ServerCPU = median(figures(good, func(r result) float64 { return r.ServerCPU }))
	m.DatabaseCPU = median(figures(good, func(r result) float64 { return r.DatabaseCPU }))
	m.ClientCPU = median(figures(good, func(r result) float64 { return r.ClientCPU }))
	m.WatchP99 = median(figures(good, func(r result) float64 { return r.WatchP99 }))
	m.Attempts = median(figures(good, func(r result) float64 { return r.Attempts }))
	m.Curve = medianCurve(good)
	m.DiskBytes = median(figures(good, func(r result) float64 { return r.DiskBytes }))
	return m
}

// curvePercentiles are the percentiles of curves.
var curvePercentiles = []float64{50, 75, 90, 95, 99, 99.5, 99.9}

// curve returns the latencies at curvePercentiles, in microseconds, up to those with some operations beyond them.
func curve(sorted []time.Duration) []float64 {
	const beyond = 4
	var out []float64
	for _, p := range curvePercentiles {
		if float64(len(sorted))*(100-p)/100 < beyond {
			break
		}
		out = append(out, micros(percentile(sorted, p)))
	}
	return out
}

// medianCurve returns the median of the rounds at each percentile that all of them reach.
func medianCurve(rounds []result) []float64 {
	var out []float64
	for i := range curvePercentiles {
		var at []float64
		for _, r := range rounds {
			if i < len(r.Curve) {
				at = append(at, r.Curve[i])
			}
		}
		if len(at) == 0 || len(at) < len(rounds) {
			break
		}
		out = append(out, median(at))
	}
	return out
}
