package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sweptReport returns a report with a workload with several numbers of clients, latencies, and gRPC alone.
func sweptReport() *report {
	r := &report{Name: "sqlite", Title: "SQLite", Conditions: conditions{Rounds: 2, Duration: "1s"}}
	for _, name := range []string{"stele", "etcd", floor} {
		c, _ := findContender(name)
		r.server(c, "v1")
		for i, clients := range sweepClients {
			for _, round := range []float64{0, 1} {
				got := result{
					Rate: 1000 * float64(i+1) * (1 + round/10), P50: 500, P99: 4000,
					Curve: []float64{500, 700, 1000, 2000, 4000, 5000},
				}
				if name == floor {
					got.Rate *= 2
				}
				r.add(putWorkload(clients), &target{contender: c}, got)
			}
		}
		if name != floor {
			r.add(mixWorkload(64, 20), &target{contender: c}, result{
				Rate: 100, P99: 3000, WatchP99: 7000, DiskBytes: 2500,
			})
		}
	}
	r.finish()
	return r
}

func restartReport() *report {
	r := &report{Name: "restart", Title: "Restart"}
	r.Restarts = []*restartRow{{Server: "stele", Title: "Stele, SQLite", Keys: 1_000_000, StoreSeconds: 12,
		Warm: []float64{3100, 2900, 3000}, Dropped: []float64{4000}, RSSStarted: 250_000_000}}
	return r
}

// TestPage checks that the JSON of runs becomes the measured section of a page with its plots, and that the rest of the
// page is unchanged.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	page, bench, restart := filepath.Join(dir, "speed.md"), filepath.Join(dir, "bench.json"),
		filepath.Join(dir, "restart.json")
	for file, reports := range map[string][]*report{bench: {sweptReport()}, restart: {restartReport()}} {
		if err := writeFile(file, func(w io.Writer) error { return writeJSON(w, reports) }); err != nil {
			t.Fatal(err)
		}
	}
	const before, after = "# Speed\n\nwords\n\n", "\n\nmore words\n"
	if err := os.WriteFile(page, []byte(before+sectionBegin+"\nold\n"+sectionEnd+after), 0o600); err != nil {
		t.Fatal(err)
	}
	// Old plots of the benchmark are removed, other files are not.
	stale, other := filepath.Join(dir, "speed", "latency-mongodb.svg"), filepath.Join(dir, "speed", "logo.svg")
	if err := os.Mkdir(filepath.Dir(stale), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{stale, other} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var last, figures string
	for range 2 { // the second time over an existing page
		if err := command(t.Context(), []string{"-render", bench + "," + restart, "-docs", page}, io.Discard,
			io.Discard); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" && last != string(text) {
			t.Error("written twice, the page is another one")
		}
		last = string(text)
		appendix, err := os.ReadFile(filepath.Join(dir, "speed", figuresFile))
		if err != nil {
			t.Fatal(err)
		}
		figures = string(appendix)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old plot is still there: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(last, before) || !strings.HasSuffix(last, after) || strings.Contains(last, "old") {
		t.Errorf("the rest of the page changed:\n%s", last)
	}
	line(t, figures, "Put of a new key, 64 clients", "| 4200 | 4200 | 8400 |", "| 50 % |")
	line(t, figures, "Kubernetes-like mix", "3.00 ms; 0 us; 2.5 kB; watch p99 7.00 ms")
	line(t, figures, "stele: Stele, SQLite | 1000000 | 3.00 (2.90-3.10) | 4.00 (4.00-4.00) | 250.0")
	for _, name := range []string{"throughput-sqlite.svg", "latency-sqlite.svg"} {
		line(t, figures, "]("+name+")")
		if _, err := os.Stat(filepath.Join(dir, "speed", name)); err != nil {
			t.Error(err)
		}
	}
}

// TestSummary checks that the summary has the workloads that every comparison with etcd and kine has.
func TestSummary(t *testing.T) {
	var reports []*report
	for _, database := range []string{"", "-postgres"} {
		r := &report{Title: "Database" + database}
		for i, name := range []string{"stele" + database, "etcd", "kine" + database} {
			c, _ := findContender(name)
			r.server(c, "v1")
			r.add(putWorkload(64), &target{contender: c}, result{Rate: float64(1000 / (i + 1)), P99: 4000})
			if database == "" {
				r.add(putWorkload(1), &target{contender: c}, result{Rate: 10, P99: 4000})
			}
		}
		r.finish()
		reports = append(reports, r)
	}
	want := "| operation | Database | Database-postgres |\n|---|---:|---:|\n" +
		"| Put of a new key, 64 clients | 1000/s: 2.0 x etcd, 3.0 x kine | 1000/s: 2.0 x etcd, 3.0 x kine |\n"
	if got := summary(append(reports, restartReport())); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPageIsLeftAlone(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	for _, c := range []struct {
		what, content string
		report        *report
	}{
		{"a run with failures", sectionBegin + "\n" + sectionEnd, exampleReport()},
		{"no section", "words", sweptReport()},
		{"no end of the section", sectionBegin, sweptReport()},
		{"two sections", strings.Repeat(sectionBegin+"\n"+sectionEnd+"\n", 2), sweptReport()},
	} {
		if err := os.WriteFile(page, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writePage(page, []*report{c.report}); err == nil {
			t.Errorf("%s: no error", c.what)
		}
		if got, err := os.ReadFile(page); err != nil || string(got) != c.content {
			t.Errorf("%s: the page became %q, %v", c.what, got, err)
		}
	}
}

// TestSVG checks that the plots are XML with all points inside the picture, titles and units on the axes, and a legend.
func TestSVG(t *testing.T) {
	plots := sweptReport().plots()
	if len(plots) != 2 {
		t.Fatalf("%d plots", len(plots))
	}
	for _, p := range plots {
		var out strings.Builder
		if err := p.writeSVG(&out); err != nil {
			t.Fatal(err)
		}
		texts, lines, circles := map[string]bool{}, 0, 0
		decoder := xml.NewDecoder(strings.NewReader(out.String()))
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", p.file, err)
			}
			switch token := token.(type) {
			case xml.CharData:
				texts[strings.TrimSpace(string(token))] = true
			case xml.StartElement:
				switch token.Name.Local {
				case "polyline":
					lines++
				case "circle":
					circles++
				}
				for _, a := range token.Attr {
					if n, err := strconv.ParseFloat(a.Value, 64); strings.HasPrefix(a.Name.Local, "c") && err == nil &&
						(n < 0 || n > p.width()) {
						t.Errorf("%s: %s is %v", p.file, a.Name.Local, n)
					}
				}
			}
		}
		for _, want := range []string{
			"Put of a new key", "Stele, SQLite", "etcd", p.panels[0].xLabel, p.panels[0].yLabel,
		} {
			if !texts[want] {
				t.Errorf("%s does not say %q", p.file, want)
			}
		}
		points := len(p.panels[0].lines[0].points)
		if lines != 6 || circles != points+1 || points < 5 { // one more of each in the legend
			t.Errorf("%s has %d lines and %d circles for %d points", p.file, lines, circles, points)
		}
		if strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), "Inf") {
			t.Errorf("%s has something that is no number:\n%s", p.file, out.String())
		}
	}
}

func TestAxes(t *testing.T) {
	labels := func(p panel) string {
		_, _, ticks := p.yAxis()
		var out []string
		for _, t := range ticks {
			out = append(out, t.label)
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		low, high float64
		log       bool
		want      string
	}{
		{100, 9200, false, "0 2k 4k 6k 8k 10k"},
		{1, 30, false, "0 10 20 30"},
		{0, 0.7, false, "0 0.2 0.4 0.6 0.8"},
		{3, 41, true, "2 5 10 20 50"},
		{0.3, 900, true, "1 10 100 1000"},
		{7, 7, true, "5 10"},
		{5, 5, true, "5 10 20 50"},
	} {
		p := panel{
			logY: c.log, lines: []series{{points: []point{{1, c.low, c.low, c.low}, {2, c.high, c.high, c.high}}}},
		}
		if got := labels(p); got != c.want {
			t.Errorf("%v to %v: marks %s, want %s", c.low, c.high, got, c.want)
		}
	}
}
