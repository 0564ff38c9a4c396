package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestQuickRun runs all servers but kine, which takes minutes to build.
func TestQuickRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	// Workloads that differ only in the number of clients or watchers run once.
	chosen := regexp.MustCompile(
		`^(get|list|count|watch-latency|watch-fanout-1000-streams|mix|txn-64|put-1$|put-64|delete)`)
	var stdout, stderr strings.Builder
	err := command(t.Context(), []string{
		"-quick", "-servers", "stele,etcd", "-workloads", chosen.String(),
		"-duration", "200ms", "-warmup", "50ms", "-settle", "50ms",
		"-objects", "1000", "-watchers", "100", "-watch-rate", "100", "-json", file,
	}, &stdout, &stderr)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, stderr.String(), stdout.String())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var reports []*report
	if err := json.Unmarshal(data, &reports); err != nil || len(reports) != 1 {
		t.Fatal(err)
	}
	got := reports[0]
	for _, w := range workloads {
		if w.large || !chosen.MatchString(w.name) {
			continue
		}
		for _, server := range []string{"stele", "etcd"} {
			i := slices.IndexFunc(got.Rows, func(r *row) bool { return r.Workload == w.name && r.Server == server })
			switch {
			case i < 0:
				t.Errorf("no row for %s on %s", w.name, server)
			case got.Rows[i].Median.Rate <= 0 || len(got.Rows[i].Than) != 1:
				t.Errorf("%s on %s: %+v", w.name, server, got.Rows[i])
			}
		}
	}
	for _, s := range got.Servers {
		if s.SyncsPerWrite != nil && *s.SyncsPerWrite < 1 {
			t.Errorf("%s made %.2f syncs for each write and calls itself durable", s.Name, *s.SyncsPerWrite)
		}
		if s.RSSIdle == 0 || s.DiskEnd == 0 || s.KeysEnd < 1000 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	if !strings.Contains(stdout.String(), "x etcd") {
		t.Errorf("no table on standard output:\n%s", stdout.String())
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-servers", ""}, {"-servers", "mongodb"}, {"-servers", "postgres,all"},
		{"-objects", "10"}, {"-large", "5"}, {"-watchers", "7"}, {"-workloads", "("}, {"-nonsense"}, {"argument"},
		{"-restart", "many"}, {"-restart", "0"}, {"-restart", "10", "-servers", "kine"},
		{"-check", "HEAD", "-baseline", "x"},
	} {
		if _, err := parse(args, &strings.Builder{}); err == nil {
			t.Errorf("%q were accepted", args)
		}
	}
	s, err := parse([]string{"-rounds", "5", "-quick"}, &strings.Builder{})
	if err != nil || s.rounds != 5 || s.objects >= defaultSettings().objects {
		t.Errorf("-quick and -rounds together gave %+v, %v", s, err)
	}
}

// TestRestart kills servers with some keys, and starts them again on the same data.
func TestRestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr strings.Builder
	if err := command(t.Context(), []string{"-restart", "250", "-servers", "stele,etcd", "-rounds", "1", "-json", file},
		&stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stderr.String(), stdout.String())
	}
	reports, err := readReports([]string{file})
	if err != nil || len(reports[0].Restarts) != 2 {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	for _, r := range reports[0].Restarts {
		if len(r.Warm) != 1 || len(r.Dropped) != 1 || r.Warm[0] <= 0 || r.Dropped[0] <= 0 || r.RSSStarted == 0 ||
			r.Disk == 0 || r.Keys != 250 {
			t.Errorf("%+v", r)
		}
	}
	line(t, stdout.String(), "etcd: etcd", "250", "(")
}

// TestSweep checks that each kind of workload has all numbers of clients once, in order, and that others are unchanged.
func TestSweep(t *testing.T) {
	names := func(of []workload) string {
		var out []string
		for _, w := range of {
			out = append(out, w.name)
		}
		return strings.Join(out, " ")
	}
	s := settings{sweep: true, large: 20_000}
	if got, want := names(selectWorkloads(s, replicaWorkloads)), "get-1 get-4 get-16 get-64 get-256 watch-latency "+
		"txn-1 txn-4 txn-16 txn-64 txn-256 put-1 put-4 put-16 put-64 put-256"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	crowds := 0 // there are no watchers for them
	for _, w := range workloads {
		if w.crowd {
			crowds++
		}
	}
	if got, want := len(selectWorkloads(s, allWorkloads)), len(workloads)-crowds+15-6; got != want {
		t.Errorf("%d workloads instead of %d", got, want)
	}
	// The workloads on updated objects come last.
	if all := selectWorkloads(s, allWorkloads); names(all[len(all)-2:]) != "list-500-updated list-10000-updated" {
		t.Errorf("the last are %s", names(all[len(all)-2:]))
	}
}
