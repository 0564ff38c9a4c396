package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// plot is a figure of a report with its file name and caption.
type plot struct {
	// file is the file name without a directory; caption describes the plot.
	file, caption string
	figure
}

// sweepTitles are the titles of the panels of throughput, by the part of the workload's name before the number of
// clients.
var sweepTitles = []struct{ of, title string }{
	{"get", "Linearizable get"},
	{"txn", "Create, update, delete"},
	{"put", "Put of a new key"},
}

// plots returns the plots for which r has figures.
func (r *report) plots() []plot {
	var out []plot
	if f := r.throughput(); len(f.panels) > 0 {
		out = append(out, plot{"throughput-" + r.Name + ".svg",
			r.Title + ": throughput against the number of clients; medians of the rounds, " +
				"vertical bars are the extremes", f})
	}
	if f := r.percentiles(); len(f.panels) > 0 {
		out = append(out, plot{"latency-" + r.Name + ".svg",
			r.Title + ": percentiles of the latency with 64 clients, medians of the rounds; lower is better", f})
	}
	return out
}

// throughput returns a panel for each workload that ran with several numbers of clients.
func (r *report) throughput() figure {
	var f figure
	for _, of := range sweepTitles {
		p := panel{title: of.title, xLabel: "clients", yLabel: "operations/s"}
		byServer := map[string][]point{}
		for _, row := range r.Rows {
			m := ofSweep.FindStringSubmatch(row.Workload)
			if len(m) == 0 || m[1] != of.of || row.Median.Rate == 0 {
				continue
			}
			clients, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				continue // a number that is out of range
			}
			at := point{x: clients, y: row.Median.Rate, low: row.Median.Rate, high: row.Median.Rate}
			for _, got := range row.Rounds {
				if got.Rate > 0 {
					at.low, at.high = min(at.low, got.Rate), max(at.high, got.Rate)
				}
			}
			byServer[row.Server] = append(byServer[row.Server], at)
			if !slices.ContainsFunc(p.xTicks, func(t tick) bool { return t.at == clients }) {
				p.xTicks = append(p.xTicks, tick{clients, m[2]})
			}
		}
		if len(p.xTicks) < 3 {
			continue
		}
		slices.SortFunc(p.xTicks, func(a, b tick) int { return cmp.Compare(a.at, b.at) })
		p.lines = r.lines(byServer)
		f.panels = append(f.panels, p)
	}
	return f
}

// percentiles returns a panel for each workload that ran with 64 clients.
func (r *report) percentiles() figure {
	var f figure
	for _, of := range sweepTitles {
		p := panel{title: of.title, xLabel: "percentile", yLabel: "latency (ms)", logY: true}
		byServer := map[string][]point{}
		most := 0
		for _, row := range r.Rows {
			if row.Workload != of.of+"-64" {
				continue
			}
			for i, us := range row.Median.Curve {
				// The axis emphasizes the tail: each further 9 takes as much room as the previous one.
				ms := us / 1000
				byServer[row.Server] = append(byServer[row.Server], point{
					100 / (100 - curvePercentiles[i]), ms, ms, ms,
				})
			}
			most = max(most, len(row.Median.Curve))
		}
		for _, percentile := range []float64{50, 90, 99, 99.9} {
			if slices.Index(curvePercentiles, percentile) < most {
				p.xTicks = append(p.xTicks, tick{
					100 / (100 - percentile), strconv.FormatFloat(percentile, 'f', -1, 64) + " %",
				})
			}
		}
		if len(p.xTicks) < 2 {
			continue
		}
		// The axis ends between two marks, or the lines would leave it.
		end := p.xTicks[len(p.xTicks)-1].at * 1.0001
		for server, points := range byServer {
			byServer[server] = slices.DeleteFunc(points, func(at point) bool { return at.x > end })
		}
		p.lines = r.lines(byServer)
		f.panels = append(f.panels, p)
	}
	return f
}

// lines returns the lines of byServer, in the order of the servers.
func (r *report) lines(byServer map[string][]point) []series {
	var out []series
	for i, s := range r.Servers {
		points := byServer[s.Name]
		if len(points) == 0 {
			continue
		}
		slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.x, b.x) })
		out = append(out, series{s.Title, lookOf(s.Name, i), points})
	}
	return out
}

// lookOf returns the look of a server, which is the same in all plots. The colours are Okabe and Ito's, which most
// readers with colour blindness can distinguish.
func lookOf(server string, place int) look {
	const blue, orange, green, sky, pink, grey = "#0072b2", "#d55e00", "#009e73", "#56b4e9", "#cc79a7", "#777777"
	switch {
	case server == floor:
		return look{grey, "2 3", noMarker}
	case server == "etcd":
		return look{orange, "", square}
	case server == "kine-unsynced":
		return look{green, "6 3", diamond}
	case strings.HasPrefix(server, "kine"):
		return look{green, "", triangle}
	case strings.HasSuffix(server, "-2"):
		return look{sky, "", diamond}
	case strings.HasSuffix(server, "-3"):
		return look{pink, "", triangle}
	case place > 0 && strings.HasSuffix(server, baselineSuffix):
		return look{sky, "6 3", circle}
	}
	return look{blue, "", circle}
}

// writePlots draws the plots of all reports into dir.
func writePlots(dir string, reports []*report) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, r := range reports {
		for _, p := range r.plots() {
			if err := writeFile(filepath.Join(dir, p.file), p.writeSVG); err != nil {
				errs = append(errs, fmt.Errorf("plot %s: %w", p.file, err))
			}
		}
	}
	return errors.Join(errs...)
}
