package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// result is what one slot gave. Its zero figures mean: not measured.
type result struct {
	// Rate is operations a second.
	Rate float64 `json:"rate"`
	// P50 and P99 are latencies in microseconds.
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	// ServerCPU and ClientCPU are microseconds an operation; DatabaseCPU is the part of ServerCPU that a database server took.
	ServerCPU   float64 `json:"server_cpu_us"`
	DatabaseCPU float64 `json:"database_cpu_us,omitempty"`
	ClientCPU   float64 `json:"client_cpu_us"`
	// DiskBytes is what was written to the disk, in bytes for each write that the server acknowledged.
	DiskBytes float64 `json:"disk_bytes_per_write,omitempty"`
	// LeastShare is the share (0 to 1) of the acknowledged writes that went through the replica with the fewest; 0 is not
	// counted. Clients are spread evenly, and each goes on when its write was acknowledged.
	LeastShare float64 `json:"least_share,omitempty"`
	Note       string  `json:"note,omitempty"`
	Error      string  `json:"error,omitempty"`
}

func newResult(s settings, got sample, server usage, client time.Duration) (result, error) {
	if got.ops == 0 {
		return result{}, fmt.Errorf("no operation was completed in %s", s.duration)
	}
	r := result{
		Rate:        float64(got.ops) / s.duration.Seconds(),
		P50:         micros(percentile(got.latencies, 50)),
		P99:         micros(percentile(got.latencies, 99)),
		ServerCPU:   micros(server.cpu) / float64(got.total),
		DatabaseCPU: micros(server.database) / float64(got.total),
		ClientCPU:   micros(client) / float64(got.total),
		Note:        got.note,
	}
	if got.writes > 0 {
		r.DiskBytes = float64(server.written) / float64(got.writes)
	}
	return r, nil
}

// leastShare is the result's figure of that name.
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

// remark is what to know beside the figures.
func (r result) remark() string {
	if r.LeastShare == 0 {
		return r.Note
	}
	return strings.TrimSuffix(fmt.Sprintf("least share of a replica %.0f %%; %s", 100*r.LeastShare, r.Note), "; ")
}

// row is one workload on one server.
type row struct {
	Workload string `json:"workload"`
	Title    string `json:"title"`
	Unit     string `json:"unit"`
	Server   string `json:"server"`
	// Rounds are in order. Median is taken of each figure by itself, over the rounds without error.
	Rounds []result `json:"rounds"`
	Median result   `json:"median"`
	// Than maps another server's name to how many times better this one is: by rate, or, if the rate is given
	// (Paced), by p99.
	Than  map[string]ratio `json:"better_than"`
	Paced bool             `json:"paced,omitempty"`
}

// serverRow is what is known of a server beside the workloads. Sizes are in bytes.
type serverRow struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Version string `json:"version"`
	Durable bool   `json:"durable"`
	// Replicas share one database; 1 for all others.
	Replicas int `json:"replicas"`
	// SyncsPerWrite was counted by strace with one client; nil is not counted.
	SyncsPerWrite *float64 `json:"syncs_per_write,omitempty"`
	StartMillis   float64  `json:"start_ms"`
	// Resident size when started, with the objects stored, and at the end, when there are KeysEnd keys and
	// the files take DiskEnd on the disk. A fast server has stored more by then.
	RSSIdle    int64 `json:"rss_idle"`
	RSSObjects int64 `json:"rss_objects"`
	RSSEnd     int64 `json:"rss_end"`
	KeysEnd    int64 `json:"keys_end"`
	DiskEnd    int64 `json:"disk_end"`
	// Error says why the server took no part.
	Error string `json:"error,omitempty"`
}

// conditions are what a figure means nothing without.
type conditions struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Kernel  string    `json:"kernel"`
	CPUs    int       `json:"cpus"`
	Go      string    `json:"go"`
	// Database is the version of the database server, if there is one.
	Database    string  `json:"database,omitempty"`
	FileSystem  string  `json:"file_system"`
	SyncMicros  float64 `json:"sync_us"`
	LoadBefore  string  `json:"load_before"`
	LoadAfter   string  `json:"load_after"`
	Rounds      int     `json:"rounds"`
	Duration    string  `json:"duration"`
	Connections int     `json:"connections"`
	Objects     int     `json:"objects"`
	Large       int     `json:"large"`
	WatchRate   int     `json:"watch_rate"`
}

// report is all that a comparison found.
type report struct {
	Name       string       `json:"name"`
	Title      string       `json:"title"`
	Conditions conditions   `json:"conditions"`
	Servers    []*serverRow `json:"servers"`
	Rows       []*row       `json:"rows"`
}

func newReport(s settings, of comparison, dir string) (*report, error) {
	c := conditions{
		Started: time.Now(), CPUs: runtime.NumCPU(), Go: runtime.Version(), LoadBefore: load(),
		Rounds: s.rounds, Duration: s.duration.String(), Connections: s.connections,
		Objects: s.objects, Large: s.large, WatchRate: s.watchRate,
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, err
	}
	c.Kernel = unix.ByteSliceToString(uts.Release[:])
	var err error
	if c.FileSystem, _, err = fileSystem(dir); err != nil {
		return nil, err
	}
	latency, err := syncLatency(dir)
	if err != nil {
		return nil, err
	}
	c.SyncMicros = micros(latency)
	return &report{Name: of.name, Title: of.title, Conditions: c}, nil
}

// load is the machine's load average over the last minute: above the number of CPUs, others were busy too.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text) + " unknown")[0]
}

// server returns the row of c, made if it is new.
func (r *report) server(c contender, version string) *serverRow {
	for _, s := range r.Servers {
		if s.Name == c.name {
			return s
		}
	}
	s := &serverRow{Name: c.name, Title: c.title, Version: version, Durable: c.durable, Replicas: c.processes()}
	r.Servers = append(r.Servers, s)
	return s
}

func (r *report) add(w workload, t *target, got result) {
	for _, row := range r.Rows {
		if row.Workload == w.name && row.Server == t.name {
			row.Rounds = append(row.Rounds, got)
			return
		}
	}
	r.Rows = append(r.Rows, &row{
		Workload: w.name, Title: w.title, Unit: w.unit, Server: t.name, Paced: w.paced, Rounds: []result{got},
	})
}

// finish computes medians and ratios.
func (r *report) finish() {
	r.Conditions.Seconds = time.Since(r.Conditions.Started).Seconds()
	r.Conditions.LoadAfter = load()
	for _, row := range r.Rows {
		row.Median = medianResult(row.Rounds)
	}
	for _, mine := range r.Rows {
		mine.Than = map[string]ratio{}
		for _, theirs := range r.Rows {
			if mine.Workload != theirs.Workload || mine == theirs {
				continue
			}
			a, b := figures(mine.Rounds, rate), figures(theirs.Rounds, rate)
			if mine.Paced {
				a, b = figures(theirs.Rounds, p99), figures(mine.Rounds, p99)
			}
			if than, ok := pairedRatio(a, b); ok {
				mine.Than[theirs.Server] = than
			}
		}
	}
}

func rate(r result) float64 { return r.Rate }
func p99(r result) float64  { return r.P99 }

func figures(rounds []result, f func(result) float64) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		out[i] = f(r)
	}
	return out
}

// medianResult is the median of every figure over the rounds without error, but the smallest share of all; with no such round it
// has the first error.
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
	m.DiskBytes = median(figures(good, func(r result) float64 { return r.DiskBytes }))
	return m
}

// failures describes every server and every slot that failed.
func (r *report) failures() []string {
	var out []string
	for _, s := range r.Servers {
		if s.Error != "" {
			out = append(out, s.Name+" took no part: "+s.Error)
		}
	}
	for _, row := range r.Rows {
		for i, got := range row.Rounds {
			if got.Error != "" {
				out = append(out, fmt.Sprintf("%s on %s, round %d: %s", row.Workload, row.Server, i+1, got.Error))
			}
		}
	}
	return out
}
