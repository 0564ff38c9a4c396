package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDatabases runs replicas on one database and a single Stele on the other, for a moment.
func TestDatabases(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr strings.Builder
	err := command(t.Context(), []string{
		"-quick", "-servers", "stele-postgres-2,stele-mariadb", "-workloads", "get-64|put-64",
		"-duration", "200ms", "-warmup", "50ms", "-settle", "50ms", "-objects", "1000", "-json", file,
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
		t.Fatalf("%d reports, %v", len(reports), err)
	}
	got := reports[0]
	if len(got.Rows) != 4 {
		t.Errorf("%d rows", len(got.Rows))
	}
	for _, r := range got.Rows {
		m := r.Median
		if m.DatabaseCPU <= 0 || m.DatabaseCPU >= m.ServerCPU {
			t.Errorf("%s on %s took %.1f us of CPU, %.1f us of them in the database", r.Workload, r.Server, m.ServerCPU,
				m.DatabaseCPU)
		}
		hasShare := m.LeastShare > 0 && m.LeastShare <= 0.5
		if hasShare != (r.Server == "stele-postgres-2" && r.Workload == "put-64") {
			t.Errorf("%s on %s: the least share is %.2f", r.Workload, r.Server, m.LeastShare)
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
	line(t, stdout.String(), "x stele-mariadb")
}

// onText calls do, in a goroutine, when a written text contains text.
type onText struct {
	text string
	do   func()
}

func (o onText) Write(p []byte) (int, error) {
	if strings.Contains(string(p), o.text) {
		go o.do()
	}
	return len(p), nil
}

// TestInterruption checks that an interrupted run leaves no processes and files.
func TestInterruption(t *testing.T) {
	t.Parallel()
	c, _ := findContender("stele-postgres")
	binary, _, err := c.build(t.Context(), defaultSettings(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for at, file := range map[string]string{
		"starting PostgreSQL": "/*/db/stele-databases.*/node1/data/base", // while the script makes the server's files
		"round 1":             "",
	} {
		parent, err := makeRunDir("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(parent) })
		// The user that runs the database must have access.
		if err := os.Chmod(parent, 0o711); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		interrupt := onText{at, func() {
			for found, err := []string(nil), error(nil); err == nil && file != "" && len(found) == 0 &&
				ctx.Err() == nil; {
				found, err = filepath.Glob(parent + file)
			}
			cancel()
		}}
		err = command(ctx,
			[]string{"-quick", "-servers", "stele-postgres", "-stele", binary, "-workloads", "get-64", "-sync-writes",
				"0", "-objects", "501", "-dir", parent}, &strings.Builder{}, interrupt)
		if err == nil || ctx.Err() == nil {
			t.Errorf("interrupted at %q: %v", at, err)
		}
		if left := processesIn(t, parent); len(left) > 0 {
			t.Errorf("interrupted at %q, these run: %q", at, left)
		}
		if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
			t.Errorf("interrupted at %q, these files are left: %v, %v", at, entries, err)
		}
	}
}

// processesIn returns the command lines that contain dir, except those of this process and of the script that waits for
// its end.
func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if strings.Contains(string(text), "scripts/databases\x00start\x00") {
			continue
		}
		if err == nil && strings.Contains(string(text), dir) && file != fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			found = append(found, string(text))
		}
	}
	return found
}

func TestDSNOfAnotherDatabase(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:p@127.0.0.1:5432/stele?sslmode=disable": "postgres://u:p@127.0.0.1:5432/other?sslmode=disable",
		"mysql://u:p@tcp(127.0.0.1:3306)/stele":               "mysql://u:p@tcp(127.0.0.1:3306)/other",
	} {
		if got := (&databaseServer{dsn: dsn}).in("other"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestConnectionsAreSpreadEvenly(t *testing.T) {
	c, err := newClient([]string{"a", "b", "c"}, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	if len(c.conns) != 9 {
		t.Errorf("%d connections to 3 replicas", len(c.conns))
	}
	for n := range 64 {
		if want := []string{"a", "b", "c"}[c.replica(n)]; !strings.HasSuffix(c.conn(n).Target(), "/"+want) {
			t.Errorf("client %d is said to talk to %s and talks to %s", n, want, c.conn(n).Target())
		}
	}
}

func TestLeastShare(t *testing.T) {
	three, two := &client{replicas: 3}, &client{replicas: 2}
	for _, c := range []struct {
		client *client
		got    sample
		want   float64
	}{
		{two, sample{writes: 10, byClient: []int64{3, 4, 3}}, 0.4},
		{three, sample{writes: 8, byClient: []int64{4, 2, 2}}, 0.25},
		{three, sample{writes: 4, byClient: []int64{2, 2}}, 0},             // not enough clients for all replicas
		{two, sample{byClient: []int64{3, 4}}, 0},                          // reads
		{&client{replicas: 1}, sample{writes: 1, byClient: []int64{1}}, 0}, // no other replica
	} {
		if got := leastShare(c.got, c.client); got != c.want {
			t.Errorf("%d replicas, %+v: got %v, want %v", c.client.replicas, c.got, got, c.want)
		}
	}
}

func TestServers(t *testing.T) {
	for list, want := range map[string][][]string{
		"stele,etcd":         {{"stele", "etcd"}},
		"postgres":           {{"stele-postgres", "etcd", "kine-postgres", "grpc"}},
		"mariadb,kine,stele": {{"kine", "stele"}, {"stele-mariadb", "etcd", "kine-mariadb", "grpc"}},
		"replicas-mariadb,sqlite": {{"stele-mariadb-2", "stele-mariadb-3", "stele-mariadb"},
			{"stele", "etcd", "kine", "kine-unsynced", "grpc"}},
	} {
		got, err := parseServers(list, false)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v", list, got, err)
			continue
		}
		for i := range want {
			if !slices.Equal(got[i].servers, want[i]) {
				t.Errorf("%s: got %q, want %q", list, got[i].servers, want[i])
			}
		}
	}
	got, err := parseServers("stele,stele-postgres,stele-mariadb-2", true)
	if want := []string{"stele", "stele-postgres", "stele-mariadb-2", "stele-baseline",
		"stele-postgres-baseline"}; err != nil || !slices.Equal(got[0].servers, want) {
		t.Errorf("with a baseline: %+v, %v", got, err)
	}
	if all, err := parseServers("all", false); err != nil || len(all) != len(comparisons) {
		t.Errorf("all is %+v, %v", all, err)
	}
	for _, c := range comparisons {
		if len(selectWorkloads(defaultSettings(), c.workloads)) < 5 {
			t.Errorf("%s has hardly any workload", c.name)
		}
	}
}
