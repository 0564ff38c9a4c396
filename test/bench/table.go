package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is a heading and rows of cells; the first column is text, the others are figures.
type table struct {
	heading []string
	rows    [][]string
}

// tables formats r: the workloads, then the servers.
func (r *report) tables() []table {
	if len(r.Restarts) > 0 {
		return []table{r.restartTable()}
	}
	against := r.references()
	work := table{heading: []string{"workload, server", "ops/s"}}
	for _, s := range against {
		work.heading = append(work.heading, "x "+s.Name)
	}
	if r.hasFloor() {
		work.heading = append(work.heading, "of gRPC alone")
	}
	work.heading = append(work.heading, "p50 ms", "p99 ms", "server CPU us/op"+r.ofDatabase(), "client CPU us/op",
		"disk B/write", "remarks")
	last := ""
	for _, row := range r.Rows {
		if row.Workload != last {
			last = row.Workload
			work.rows = append(work.rows, []string{row.Workload + ": " + row.Title})
		}
		work.rows = append(work.rows, r.cells(row, against))
	}
	servers := table{heading: []string{"server", "version", "syncs/write", "start ms", "RSS idle MB",
		"RSS with objects MB", "RSS end MB", "keys end", "disk end MB"}}
	for _, s := range r.Servers {
		syncs := "not counted"
		if s.SyncsPerWrite != nil {
			syncs = fmt.Sprintf("%.2f", *s.SyncsPerWrite)
		}
		servers.rows = append(servers.rows, []string{
			s.Name + ": " + s.Title, s.Version, syncs, fmt.Sprintf("%.0f", s.StartMillis),
			megabytes(s.RSSIdle), megabytes(s.RSSObjects), megabytes(s.RSSEnd), fmt.Sprint(s.KeysEnd),
			megabytes(s.DiskEnd),
		})
	}
	return []table{work, servers}
}

// references returns the servers that ratios refer to: the durable ones after the first, except replicas, which are
// compared with a single server.
func (r *report) references() []*serverRow {
	var out []*serverRow
	for i, s := range r.Servers {
		if i > 0 && s.Durable && s.Replicas == 1 {
			out = append(out, s)
		}
	}
	return out
}

// ofDatabase returns the end of the heading of the servers' CPU if a database is part of it.
func (r *report) ofDatabase() string {
	if r.Conditions.Database == "" {
		return ""
	}
	return " (database's)"
}

func (r *report) cells(row *row, against []*serverRow) []string {
	m := row.Median
	cells := []string{"  " + row.Server}
	failed := 0
	for _, got := range row.Rounds {
		if got.Error != "" {
			failed++
		}
	}
	if failed == len(row.Rounds) {
		return append(cells, "FAILED")
	}
	cells = append(cells, fmt.Sprintf("%.0f", m.Rate))
	for _, s := range against {
		cells = append(cells, row.than(s.Name))
	}
	if r.hasFloor() {
		cells = append(cells, row.share())
	}
	disk := "-"
	if m.DiskBytes > 0 {
		disk = fmt.Sprintf("%.0f", m.DiskBytes)
	}
	var remarks []string
	if failed > 0 {
		remarks = append(remarks, fmt.Sprintf("%d of %d rounds FAILED", failed, len(row.Rounds)))
	}
	for _, s := range r.Servers {
		if s.Name == row.Server && !s.Durable && m.DiskBytes > 0 {
			remarks = append(remarks, "NOT DURABLE")
		}
	}
	if note := m.remark(); note != "" {
		remarks = append(remarks, note)
	}
	cpu := fmt.Sprintf("%.1f", m.ServerCPU)
	if m.DatabaseCPU > 0 {
		cpu += fmt.Sprintf(" (%.1f)", m.DatabaseCPU)
	}
	return append(cells, latency(m.P50), latency(m.P99),
		cpu, fmt.Sprintf("%.1f", m.ClientCPU), disk, strings.Join(remarks, "; "))
}

// than returns how many times better row is than the server's row, or "-" if that is unknown. row may be nil.
func (row *row) than(server string) string {
	if row == nil {
		return "-"
	}
	than, ok := row.Than[server]
	switch {
	case row.Server == server:
		return "1"
	case !ok:
		return "-"
	case len(row.Rounds) == 1:
		return fmt.Sprintf("%.2f", than.Median)
	}
	return fmt.Sprintf("%.2f (%.2f-%.2f)", than.Median, than.Min, than.Max)
}

// share returns the ratio of row's rate to the rate of gRPC alone. row may be nil.
func (row *row) share() string {
	if row == nil {
		return "-"
	}
	than, ok := row.Than[floor]
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*than.Median)
}

// latency formats us in milliseconds, "-" if no operation began and ended in the measured time.
func latency(us float64) string {
	if us == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", us/1000)
}

func milliseconds(us float64) string { return strings.TrimPrefix(latency(us)+" ms", "- ms") }

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// tooBusy is the part of the CPUs' time that other processes may take.
const tooBusy = 0.1

// preamble returns the conditions of the figures.
func (r *report) preamble() []string {
	c := r.Conditions
	lines := []string{fmt.Sprintf("%s, %d CPUs shared by servers and client, Linux %s, %s; data on %s, a 4 KiB "+
		"append and sync takes %.0f us; others took %.0f %% of the CPUs' time before it; %.0f s in all.",
		c.Started.UTC().Format("2006-01-02 15:04 UTC"), c.CPUs, c.Kernel, c.Go, c.FileSystem, c.SyncMicros,
		100*c.Others, c.Seconds)}
	if c.Others > tooBusy {
		lines = append(lines, "The machine was busy with something else: this shows that the measurement works, and "+
			"its figures are not to be quoted.")
	}
	if len(r.Restarts) > 0 {
		lines = append(lines,
			fmt.Sprintf("One server at a time, killed %d times each way; keys of %d B, values of %d B, one revision "+
				"each. Medians, and the extremes in parentheses.", c.Rounds, keySize, valueSize))
	} else {
		lines = append(lines,
			fmt.Sprintf("%d rounds of %s, alternating; keys of %d B, values of %d B; %d connections; %d objects "+
				"stored beforehand%s; paced watch at %d writes/s.",
				c.Rounds, c.Duration, keySize, valueSize, c.Connections, c.Objects, largeText(c.Large), c.WatchRate),
			"Medians of the rounds; x is how many times better than that server (by rate, in watch-latency by p99), "+
				"the median of the rounds' pairs (and the extremes).")
	}
	if c.Database != "" {
		lines = append(lines,
			fmt.Sprintf("Each server that needs one has a database server of its own: %s.", c.Database))
	}
	return lines
}

func largeText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d in the large set", n)
}

// writeText prints r for a terminal.
func (r *report) writeText(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "== %s\n", r.Title)
	for _, line := range r.preamble() {
		fmt.Fprintln(&out, line)
	}
	for _, t := range r.tables() {
		out.WriteByte('\n')
		t.writeText(&out)
	}
	for _, f := range r.failures() {
		fmt.Fprintln(&out, "FAILED:", f)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (t table) writeText(out *strings.Builder) {
	width := make([]int, len(t.heading))
	for _, row := range append([][]string{t.heading}, t.rows...) {
		if len(row) == 1 {
			continue // a title, which may run over the columns
		}
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range append([][]string{t.heading}, t.rows...) {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(cell)))
			switch {
			case i == 0:
				line.WriteString(cell + pad)
			case i == len(t.heading)-1:
				line.WriteString("  " + cell)
			default:
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

func (t table) writeMarkdown(out *strings.Builder) {
	fmt.Fprintf(out, "| %s |\n|---|%s\n", strings.Join(t.heading, " | "), strings.Repeat("---:|", len(t.heading)-1))
	for _, row := range t.rows {
		if len(row) == 1 {
			row = []string{"**" + row[0] + "**"}
		}
		cells := append(row, make([]string, len(t.heading)-len(row))...)
		fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
	}
}

// writeMarkdown prints r as Markdown tables.
func (r *report) writeMarkdown(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "## %s\n\n", r.Title)
	for _, line := range r.preamble() {
		fmt.Fprintf(&out, "%s\n\n", line)
	}
	for _, t := range r.tables() {
		t.writeMarkdown(&out)
		out.WriteByte('\n')
	}
	for _, f := range r.failures() {
		fmt.Fprintf(&out, "- FAILED: %s\n", f)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// writeJSON prints everything, each round included.
func writeJSON(w io.Writer, reports []*report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(reports)
}
