package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// row is one workload on one server.
type row struct {
	Workload string `json:"workload"`
	Title    string `json:"title"`
	Unit     string `json:"unit"`
	Server   string `json:"server"`
	// Rounds are in order. Median has the median of each figure over the rounds without error.
	Rounds []result `json:"rounds"`
	Median result   `json:"median"`
	// Than maps another server's name to how many times better this one is: by rate, or by p99 if the rate is fixed
	// (Paced).
	Than  map[string]ratio `json:"better_than"`
	Paced bool             `json:"paced,omitempty"`
}

// serverRow holds the figures of a server that do not belong to a workload. Sizes are in bytes.
type serverRow struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Version string `json:"version"`
	Durable bool   `json:"durable"`
	// Replicas share one database; 1 for all others.
	Replicas int `json:"replicas"`
	// SyncsPerWrite was counted by strace with one client; nil means not counted.
	SyncsPerWrite *float64 `json:"syncs_per_write,omitempty"`
	StartMillis   float64  `json:"start_ms"`
	// The resident sizes are those after the start, with the objects stored, and at the end, when there are KeysEnd
	// keys and the files take DiskEnd on the disk. A fast server has stored more by then.
	RSSIdle    int64 `json:"rss_idle"`
	RSSObjects int64 `json:"rss_objects"`
	RSSEnd     int64 `json:"rss_end"`
	KeysEnd    int64 `json:"keys_end"`
	DiskEnd    int64 `json:"disk_end"`
	// Error is the reason why the server was left out.
	Error string `json:"error,omitempty"`
}

// conditions are the conditions of the measurement.
type conditions struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Kernel  string    `json:"kernel"`
	CPUs    int       `json:"cpus"`
	Go      string    `json:"go"`
	// Database is the version of the database server, if there is one.
	Database   string  `json:"database,omitempty"`
	FileSystem string  `json:"file_system"`
	SyncMicros float64 `json:"sync_us"`
	// Others is the part of the processors' time, 0 to 1, that other processes took just before the servers were
	// started.
	Others      float64 `json:"others"`
	Rounds      int     `json:"rounds"`
	Duration    string  `json:"duration"`
	Connections int     `json:"connections"`
	Objects     int     `json:"objects"`
	Large       int     `json:"large"`
	WatchRate   int     `json:"watch_rate"`
}

// report is the result of a comparison.
type report struct {
	Name       string       `json:"name"`
	Title      string       `json:"title"`
	Conditions conditions   `json:"conditions"`
	Servers    []*serverRow `json:"servers"`
	Rows       []*row       `json:"rows"`
	// Restarts replace the rows if restarts were measured.
	Restarts []*restartRow `json:"restarts,omitempty"`
}

func newReport(s settings, of comparison, dir string) (*report, error) {
	c := conditions{
		Started: time.Now(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Rounds: s.rounds, Duration: s.duration.String(), Connections: s.connections,
		Objects: s.objects, Large: s.large, WatchRate: s.watchRate,
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, err
	}
	c.Kernel = unix.ByteSliceToString(uts.Release[:])
	var err error
	if c.Others, err = busy(); err != nil {
		return nil, err
	}
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

// server returns the row of c, and adds it if it is missing.
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

// row returns the row of the workload on the server, or nil if there is none with a figure.
func (r *report) row(workload, server string) *row {
	for _, found := range r.Rows {
		if found.Workload == workload && found.Server == server && found.Median.Rate > 0 {
			return found
		}
	}
	return nil
}

// workloads returns one row of each workload, in order.
func (r *report) workloads() []*row {
	var out []*row
	for _, candidate := range r.Rows {
		if !slices.ContainsFunc(out, func(have *row) bool { return have.Workload == candidate.Workload }) {
			out = append(out, candidate)
		}
	}
	return out
}

// hasFloor reports whether gRPC alone took part.
func (r *report) hasFloor() bool {
	return slices.ContainsFunc(r.Servers, func(s *serverRow) bool { return s.Name == floor })
}

// failures describes every server and every slot that failed.
func (r *report) failures() []string {
	var out []string
	for _, s := range r.Servers {
		if s.Error != "" {
			out = append(out, s.Name+" took no part: "+s.Error)
		}
	}
	for _, row := range r.Restarts {
		if row.Error != "" {
			out = append(out, fmt.Sprintf("restart of %s with %d keys: %s", row.Server, row.Keys, row.Error))
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
