package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The summary of a page is between these two lines.
const (
	sectionBegin = "<!-- measured: begin (make bench-docs writes this section) -->"
	sectionEnd   = "<!-- measured: end -->"
)

// figuresFile is the appendix of a page, in the directory of the page's plots.
const figuresFile = "figures.md"

// readReports reads the reports in files that writeJSON has written.
func readReports(files []string) ([]*report, error) {
	var out []*report
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var reports []*report
		if err := json.Unmarshal(data, &reports); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, r := range reports {
			if r == nil || slices.ContainsFunc(out, func(have *report) bool { return have.Name == r.Name }) {
				return nil, fmt.Errorf("%s has a comparison that is empty or in another file too", file)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// writePage replaces the summary in the page file. It writes the plots and the appendix with all figures to a directory
// with the page's name without its extension. It refuses reports with failures.
func writePage(file string, reports []*report) error {
	if file == "" {
		return nil
	}
	for _, r := range reports {
		if failures := r.failures(); len(failures) > 0 {
			return fmt.Errorf("%s is left as it is, since the run had failures: %s", file, strings.Join(failures, "; "))
		}
	}
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed, err := replaceSection(string(page), summary(reports))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	directory := strings.TrimSuffix(file, filepath.Ext(file))
	if err := removePlots(directory); err != nil {
		return err
	}
	if err := writePlots(directory, reports); err != nil {
		return err
	}
	figures := "# Figures\n\n`make bench-docs` writes this page, the " +
		"appendix of [" + filepath.Base(file) + "](../" + filepath.Base(file) + ").\n\n" +
		section(reports)
	if err := os.WriteFile(filepath.Join(directory, figuresFile), []byte(figures), 0o644); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(changed), 0o644)
}

// removePlots removes the plots of earlier runs from dir, because the next run may not replace all of them.
func removePlots(dir string) error {
	for _, kind := range []string{"throughput-*.svg", "latency-*.svg"} {
		found, err := filepath.Glob(filepath.Join(dir, kind))
		if err != nil {
			return err
		}
		for _, file := range found {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNoSection = errors.New("the page has no measured section, or more than one")

func replaceSection(page, section string) (string, error) {
	before, rest, found := strings.Cut(page, sectionBegin)
	_, after, foundEnd := strings.Cut(rest, sectionEnd)
	if !found || !foundEnd || strings.Contains(after, sectionBegin) || strings.Contains(after, sectionEnd) {
		return "", errNoSection
	}
	return before + sectionBegin + "\n\n" + section + "\n" + sectionEnd + after, nil
}

// summary returns one row for each workload that all comparisons of a database with etcd and kine have, and one column
// for each comparison.
func summary(reports []*report) string {
	t := table{heading: []string{"operation"}}
	var compared []*report
	for _, r := range reports {
		if len(r.references()) > 1 {
			compared = append(compared, r)
			t.heading = append(t.heading, r.Title)
		}
	}
	if len(compared) == 0 {
		return ""
	}
	for _, title := range compared[0].workloads() {
		cells := []string{title.Title}
		for _, r := range compared {
			if row := r.row(title.Workload, r.Servers[0].Name); row != nil {
				cells = append(cells, row.short(r.references()))
			}
		}
		if len(cells) == len(t.heading) {
			t.rows = append(t.rows, cells)
		}
	}
	var out strings.Builder
	t.writeMarkdown(&out)
	return out.String()
}

// short returns the rate, or the p99 of a paced workload, and how many times better it is than each of the references.
func (row *row) short(references []*serverRow) string {
	text := fmt.Sprintf("%.0f/s", row.Median.Rate)
	if row.Paced {
		text = "p99 " + milliseconds(row.Median.P99)
	}
	for i, s := range references {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		if than, ok := row.Than[s.Name]; ok {
			text += fmt.Sprintf("%s%.1f x %s", separator, than.Median, program(s.Name))
		}
	}
	return text
}

// program returns the name of a server without its database.
func program(server string) string {
	name, _, _ := strings.Cut(server, "-")
	return name
}

// section returns the tables and plots of the reports as Markdown; the plots are in the directory of the page.
func section(reports []*report) string {
	var out strings.Builder
	for _, r := range reports {
		fmt.Fprintf(&out, "## %s\n\n", r.Title)
		for _, line := range r.preamble() {
			fmt.Fprintf(&out, "%s\n\n", line)
		}
		for _, p := range r.plots() {
			fmt.Fprintf(&out, "![%s](%s)\n\n", p.caption, p.file)
			fmt.Fprintf(&out, "*%s.*\n\n", p.caption)
		}
		for _, t := range r.pageTables() {
			t.writeMarkdown(&out)
			out.WriteByte('\n')
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// pageTables returns the tables of a page: narrower than those of a run, with a row for each workload.
func (r *report) pageTables() []table {
	if len(r.Restarts) > 0 {
		return []table{r.restartTable()}
	}
	tables := []table{r.rates(), r.costs()}
	return append(tables, r.tables()[1])
}

// rates returns the throughput (of paced workloads the p99) of each server, and the ratios of the first one.
func (r *report) rates() table {
	against := r.references()
	t := table{heading: []string{"operations/s"}}
	for _, s := range r.Servers {
		t.heading = append(t.heading, s.Name)
	}
	for _, s := range against {
		t.heading = append(t.heading, r.Servers[0].Name+" x "+s.Name)
	}
	if r.hasFloor() {
		t.heading = append(t.heading, "share of gRPC alone")
	}
	for _, title := range r.workloads() {
		name := title.Title
		if title.Paced {
			name += " (p99)"
		}
		cells := []string{name}
		for _, s := range r.Servers {
			row := r.row(title.Workload, s.Name)
			switch {
			case row == nil:
				cells = append(cells, "")
			case row.Paced:
				cells = append(cells, milliseconds(row.Median.P99))
			default:
				cells = append(cells, fmt.Sprintf("%.0f", row.Median.Rate))
			}
		}
		first := r.row(title.Workload, r.Servers[0].Name)
		for _, s := range against {
			cells = append(cells, first.than(s.Name))
		}
		if r.hasFloor() {
			cells = append(cells, first.share())
		}
		t.rows = append(t.rows, cells)
	}
	return t
}

// costs returns the costs of an operation on each server.
func (r *report) costs() table {
	t := table{heading: []string{"p99; CPU of an operation; bytes written for a write of 1 KiB"}}
	for _, s := range r.Servers {
		t.heading = append(t.heading, s.Name)
	}
	for _, title := range r.workloads() {
		cells := []string{title.Title}
		for _, s := range r.Servers {
			row := r.row(title.Workload, s.Name)
			if row == nil {
				cells = append(cells, "")
				continue
			}
			m := row.Median
			text := fmt.Sprintf("%s; %.0f us", milliseconds(m.P99), m.ServerCPU)
			if m.DiskBytes > 0 && !strings.HasPrefix(title.Workload, "watch") {
				text += fmt.Sprintf("; %.1f kB", m.DiskBytes/1000)
			}
			if m.WatchP99 > 0 {
				text += "; watch p99 " + milliseconds(m.WatchP99)
			}
			cells = append(cells, text)
		}
		t.rows = append(t.rows, cells)
	}
	return t
}
