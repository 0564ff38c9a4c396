package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// checkWorkloads are the default workloads by which a change of Stele is judged.
const checkWorkloads = `^(get-64|list-500|count|watch-latency|watch-fanout|mix-64|txn-64|put-1|put-64|put-256)$`

// forCheck sets the settings that were not given. For a verdict many short rounds are better than a few long ones.
func (s *settings) forCheck(given map[string]bool) {
	for name, set := range map[string]func(){
		"rounds":      func() { s.rounds = 11 },
		"warmup":      func() { s.warmup = 200 * time.Millisecond },
		"duration":    func() { s.duration = 600 * time.Millisecond },
		"settle":      func() { s.settle = 200 * time.Millisecond },
		"sync-writes": func() { s.syncWrites = 0 },
	} {
		if !given[name] {
			set()
		}
	}
}

// errRegression means that Stele became slower or costlier.
var errRegression = errors.New("clearly slower or costlier than the base")

// checkRegressions compares the Stele of v with that of the revision v.base. Aspects that look worse are measured once
// more on fresh servers: it returns errRegression if one is worse both times.
func (v *invocation) checkRegressions(ctx context.Context, dir string, stdout, stderr io.Writer) error {
	if v.rounds < leastPairs {
		return fmt.Errorf("-rounds %d: a verdict needs at least %d", v.rounds, leastPairs)
	}
	_, _ = fmt.Fprintf(stderr, "building Stele of %s\n", v.base)
	var err error
	if v.baseline, err = buildRevision(ctx, v.source, v.base, filepath.Join(dir, "base")); err != nil {
		return err
	}
	first, err := v.changes(ctx, dir, stderr)
	if err != nil {
		return err
	}
	for _, c := range first {
		_, _ = fmt.Fprintln(stdout, c)
	}
	suspects := workloadsWorse(first)
	if len(suspects) == 0 {
		_, _ = fmt.Fprintf(stdout, "nothing is clearly slower or costlier than at %s\n", v.base)
		return nil
	}
	_, _ = fmt.Fprintf(stdout, "once more, to be sure: %s\n", strings.Join(suspects, ", "))
	for i := range v.comparisons {
		v.comparisons[i].name += "-again"
		v.comparisons[i].workloads = regexp.MustCompile("^(" + strings.Join(suspects, "|") + ")$")
	}
	second, err := v.changes(ctx, dir, stderr)
	if err != nil {
		return err
	}
	for _, c := range second {
		_, _ = fmt.Fprintln(stdout, c)
	}
	sure := workloadsWorse(onlyTwice(first, second))
	if len(sure) == 0 {
		_, _ = fmt.Fprintf(stdout, "nothing was slower or costlier than at %s both times\n", v.base)
		return nil
	}
	return fmt.Errorf("%s: %w, %s", strings.Join(sure, ", "), errRegression, v.base)
}

// changes makes the comparisons; a failed slot is an error.
func (v *invocation) changes(ctx context.Context, dir string, stderr io.Writer) ([]change, error) {
	reports, err := v.compare(ctx, dir, io.Discard, stderr)
	if err != nil {
		return nil, err
	}
	var out []change
	for _, r := range reports {
		if failures := r.failures(); len(failures) > 0 {
			return nil, errors.New(strings.Join(failures, "; "))
		}
		out = append(out, r.changes()...)
	}
	return out, nil
}

// workloadsWorse returns the names of the workloads that are worse, each once.
func workloadsWorse(changes []change) []string {
	var out []string
	for _, c := range changes {
		if c.worse && !slices.Contains(out, c.workload) {
			out = append(out, c.workload)
		}
	}
	return out
}

// buildRevision builds Stele at the revision of the repository source, below dir, and returns the binary. It does not
// change the repository and its working tree.
func buildRevision(ctx context.Context, source, revision, dir string) (string, error) {
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return "", err
	}
	archive, err := filepath.Abs(filepath.Join(dir, "tree.tar"))
	if err != nil {
		return "", err
	}
	binary, err := filepath.Abs(filepath.Join(dir, "stele"))
	if err != nil {
		return "", err
	}
	for _, step := range []struct {
		in      string
		command []string
	}{
		// A revision that begins with a dash would be an option.
		{source, []string{"git", "rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"}},
		{source, []string{"git", "-c", "core.autocrlf=false", "archive", "--output", archive, revision, ":/"}},
		{tree, []string{"tar", "-xf", archive}},
		{tree, []string{"go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/stele"}},
	} {
		cmd := exec.CommandContext(ctx, step.command[0], step.command[1:]...)
		cmd.Dir = step.in
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build Stele at %s: %s: %w\n%s", revision, strings.Join(step.command, " "), err, out)
		}
	}
	return binary, nil
}
