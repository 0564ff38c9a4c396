package main

import (
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// samples returns n ratios around the given one. noise is the standard deviation of their logarithm, and outliers is
// the number of pairs in which the new build was disturbed and took three times as long.
func samples(random *rand.Rand, n int, around, noise float64, outliers int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = around * math.Exp(noise*random.NormFloat64())
		if i < outliers {
			out[i] *= 3
		}
	}
	return out
}

func TestJudge(t *testing.T) {
	const runs, rounds, tolerance = 2000, 11, 0.05
	random := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		what          string
		around, noise float64
		outliers      int
		// least and most bound how often the judge may report worse, as a share.
		least, most float64
	}{
		{"the same build on a quiet machine", 1, 0.03, 0, 0, 0},
		{"the same build on a busy machine", 1, 0.4, 0, 0, 0.01},
		{"the same build, disturbed in some rounds", 1, 0.05, 4, 0, 0.05},
		{"a change too small to matter", 1.02, 0.01, 0, 0, 0},
		{"a fifth slower on a quiet machine", 1.2, 0.05, 0, 0.99, 1},
		{"a fifth slower, one round disturbed the other way", 1.2, 0.05, 0, 0.99, 1},
		{"half as fast on a busy machine", 2, 0.3, 0, 0.95, 1},
		{"a fifth faster", 0.8, 0.05, 0, 0, 0},
	} {
		worse := 0
		for range runs {
			ratios := samples(random, rounds, c.around, c.noise, c.outliers)
			if strings.Contains(c.what, "the other way") {
				ratios[0] = 0.5
			}
			v := judge(ratios, tolerance)
			if v.worse {
				worse++
			}
			if v.worse && v.better {
				t.Fatalf("both worse and better: %+v", v)
			}
		}
		if share := float64(worse) / runs; share < c.least || share > c.most {
			t.Errorf("%s: called worse %.1f %% of the time, which must be %.1f to %.1f %%", c.what, 100*share,
				100*c.least, 100*c.most)
		}
	}
	if v := judge([]float64{2, 2, 2, 2, 2, 2}, tolerance); v.worse {
		t.Error("six pairs were enough")
	}
	if v := judge([]float64{2, 2, 2, 2, 2, 2, 2}, tolerance); !v.worse || v.pairs != 7 || v.median != 2 {
		t.Errorf("seven pairs twice as slow: %+v", v)
	}
	if v := judge([]float64{.5, .5, .5, .5, .5, .5, .5}, tolerance); !v.better || v.worse {
		t.Errorf("seven pairs twice as fast: %+v", v)
	}
	if v := judge([]float64{1, 1, 1, 1, 1, 1, 1}, 0); v.better || v.worse {
		t.Errorf("no difference at all: %+v", v)
	}
}

func TestSignTest(t *testing.T) {
	for _, c := range []struct {
		k, n int
		want float64
	}{{0, 5, 1}, {5, 5, 1.0 / 32}, {7, 7, 1.0 / 128}, {10, 11, 12.0 / 2048}, {0, 0, 1}} {
		if got := signTest(c.k, c.n); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("at least %d of %d: %v, want %v", c.k, c.n, got, c.want)
		}
	}
}

// TestChanges checks which figures are compared, and the changes that are worse once or twice.
func TestChanges(t *testing.T) {
	mine, _ := findContender("stele")
	base, _ := findContender("stele" + baselineSuffix)
	r := &report{}
	put, watch := putWorkload(64), watchLatencyWorkload(50)
	for range leastPairs {
		r.add(put, &target{contender: mine}, result{Rate: 500, P99: 100, ServerCPU: 50, DiskBytes: 1000})
		r.add(put, &target{contender: base}, result{Rate: 1000, P99: 100, ServerCPU: 50, DiskBytes: 3000})
		r.add(watch, &target{contender: mine}, result{Rate: 400, P99: 300})
		r.add(watch, &target{contender: base}, result{Rate: 500, P99: 100})
	}
	r.add(put, &target{contender: mine}, result{Error: "lost a write"})
	r.add(put, &target{contender: base}, result{Rate: 1000})
	got := r.changes()
	var worse, better []string
	for _, c := range got {
		if c.pairs != leastPairs {
			t.Errorf("%s was judged by %d pairs", c, c.pairs)
		}
		if c.worse {
			worse = append(worse, c.workload+" "+c.aspect)
		}
		if c.better {
			better = append(better, c.workload+" "+c.aspect)
		}
	}
	// The rate of paced writes is fixed.
	if got, want := strings.Join(worse, ", "), "put-64 time per operation, watch-latency p99"; got != want {
		t.Errorf("worse: %s, want %s", got, want)
	}
	if got, want := strings.Join(better, ", "), "put-64 bytes per write"; got != want {
		t.Errorf("better: %s, want %s", got, want)
	}
	if got := workloadsWorse(onlyTwice(got, got)); strings.Join(got, " ") != "put-64 watch-latency" {
		t.Errorf("worse twice: %q", got)
	}
	if left := onlyTwice(nil, got); len(left) > 0 {
		t.Errorf("worse once was enough: %v", left)
	}
}

// TestBuildRevision checks that the build uses the committed files, not those of the working tree.
func TestBuildRevision(t *testing.T) {
	repository := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(repository, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/made/up\n\ngo 1.24\n")
	write("cmd/stele/main.go", "package main\n\nfunc main() { print(\"committed\") }\n")
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "One"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = repository
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	write("cmd/stele/main.go", "package main\n\nfunc main() { print(\"not committed\") }\n")
	// The benchmark's module is in a directory below the root, too.
	binary, err := buildRevision(t.Context(), filepath.Join(repository, "cmd", ".."), "HEAD", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(binary).CombinedOutput(); err != nil || string(out) != "committed" {
		t.Errorf("it says %q, %v", out, err)
	}
	for _, revision := range []string{"no-such-revision", "--output=x", ""} {
		if _, err := buildRevision(t.Context(), repository, revision, t.TempDir()); err == nil {
			t.Errorf("revision %q was built", revision)
		}
	}
}
