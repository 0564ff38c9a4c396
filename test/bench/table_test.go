package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// exampleReport returns a report of three servers and two workloads; one slot failed, one server is not durable.
func exampleReport() *report {
	one := 1.0
	r := &report{Conditions: conditions{Rounds: 2, Duration: "1s"}}
	for _, c := range contenders[:2] {
		r.server(c, "v1").SyncsPerWrite = &one
	}
	unsynced := contender{name: "fast", title: "fast and loose"}
	r.server(unsynced, "v2")
	r.server(contender{name: "forgetful"}, "v3").Error = "lost an object"
	put, watch := putWorkload(64), watchLatencyWorkload(50)
	add := func(w workload, c contender, rounds ...result) {
		for _, got := range rounds {
			r.add(w, &target{contender: c}, got)
		}
	}
	add(put, contenders[0],
		result{Rate: 3000, P50: 1500, P99: 9000, DiskBytes: 2000},
		result{Rate: 1000, P50: 2500, P99: 9000, DiskBytes: 2000})
	add(put, contenders[1],
		result{Rate: 1000, P50: 1, P99: 2, DiskBytes: 1},
		result{Rate: 1000, P50: 1, P99: 2, DiskBytes: 1})
	add(put, unsynced, result{Rate: 10, DiskBytes: 1}, result{Error: "lost a write"})
	add(watch, contenders[0], result{Rate: 500, P99: 1000}, result{Rate: 500, P99: 1000})
	add(watch, contenders[1], result{Rate: 500, P99: 4000}, result{Rate: 500, P99: 4000})
	add(watch, unsynced, result{Error: "gone"}, result{Error: "gone"})
	r.finish()
	return r
}

// line returns the only line of text that has all the words.
func line(t *testing.T, text string, words ...string) string {
	t.Helper()
	found := ""
	for l := range strings.Lines(text) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(l, w)
		}
		if has && found != "" {
			t.Fatalf("two lines have %q:\n%s", words, text)
		}
		if has {
			found = strings.TrimSpace(l)
		}
	}
	if found == "" {
		t.Fatalf("no line has %q:\n%s", words, text)
	}
	return found
}

func TestText(t *testing.T) {
	var out strings.Builder
	if err := exampleReport().writeText(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	fields := strings.Fields(line(t, text, "  stele  ", "2000"))
	want := []string{"stele", "2000", "2.00", "(1.00-3.00)", "2.00", "9.00", "0.0", "0.0", "2000"}
	if strings.Join(fields, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", fields, want)
	}
	// If the rate is fixed, the ratio compares the p99.
	if got := line(t, text, "  stele  ", "500 "); !strings.Contains(got, "4.00 (4.00-4.00)") {
		t.Errorf("the latency ratio is missing: %s", got)
	}
	line(t, text, "  fast  ", "1 of 2 rounds FAILED; NOT DURABLE")
	line(t, text, "FAILED: forgetful took no part: lost an object")
	line(t, text, "FAILED: put-64 on fast, round 2: lost a write")
	if got := strings.Fields(line(t, text, "fast: fast and loose")); !strings.Contains(strings.Join(got, " "),
		"not counted") {
		t.Errorf("syncs that nobody counted: %s", got)
	}
}

// TestReplicasText checks that replicas are compared with the single server, and not with each other.
func TestReplicasText(t *testing.T) {
	r := &report{Title: "Replicas", Conditions: conditions{Database: "PostgreSQL 15"}}
	for i, name := range []string{"stele-postgres-2", "stele-postgres-3", "stele-postgres"} {
		c, ok := findContender(name)
		if !ok {
			t.Fatalf("no server %s", name)
		}
		r.server(c, "v1")
		got := result{Rate: 1000 - float64(100*i), ServerCPU: 120, DatabaseCPU: 30}
		if c.replicas > 1 {
			got.LeastShare = 0.3
		}
		worse := got
		worse.LeastShare /= 2
		r.add(putWorkload(64), &target{contender: c}, got)
		r.add(putWorkload(64), &target{contender: c}, worse)
	}
	r.finish()
	var out strings.Builder
	if err := r.writeText(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if got := strings.Count(line(t, text, "workload, server"), " x "); got != 1 {
		t.Errorf("ratios against %d servers:\n%s", got, text)
	}
	line(t, text, "stele-postgres-2", "1.25 (1.25-1.25)", "120.0 (30.0)", "least share of a replica 15 %")
	line(t, text, "(database's)")
	line(t, text, "PostgreSQL 15")
}

func TestMarkdown(t *testing.T) {
	var out strings.Builder
	if err := exampleReport().writeMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	columns := 0
	for l := range strings.Lines(text) {
		switch {
		case !strings.HasPrefix(l, "|"):
			columns = 0
		case columns == 0:
			columns = strings.Count(l, "|")
		case strings.Count(l, "|") != columns:
			t.Errorf("%d bars instead of %d: %s", strings.Count(l, "|"), columns, l)
		}
	}
	line(t, text, "|   stele | 2000 | 2.00 (1.00-3.00) |")
	line(t, text, "- FAILED: put-64 on fast, round 2: lost a write")
}

func TestJSON(t *testing.T) {
	var out strings.Builder
	if err := writeJSON(&out, []*report{exampleReport()}); err != nil {
		t.Fatal(err)
	}
	var reports []*report
	if err := json.Unmarshal([]byte(out.String()), &reports); err != nil || len(reports) != 1 {
		t.Fatal(err)
	}
	got := reports[0]
	if len(got.Servers) != 4 || len(got.Rows) != 6 {
		t.Fatalf("%d servers and %d rows came back", len(got.Servers), len(got.Rows))
	}
	if r := got.Rows[0]; r.Server != "stele" || len(r.Rounds) != 2 || r.Median.Rate != 2000 ||
		r.Than["etcd"].Median != 2 {
		t.Errorf("the first row came back as %+v", r)
	}
}
