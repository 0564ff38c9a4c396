package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The outcomes of a test, as test2json calls them. unfinished is the outcome of a test that began and did not end.
const (
	pass       = "pass"
	fail       = "fail"
	skip       = "skip"
	unfinished = "unfinished"
)

// result is the result of the tests of one target.
type result struct {
	target string
	// outcome has the outcome of every test without subtests.
	outcome map[string]string
	took    time.Duration
	// failed is the error of a test process with an exit code other than 0.
	failed error
}

// event is a line of test2json's output.
type event struct {
	Action, Test, Output string
}

// follow reads the events of a run to its end, and writes the output of failed tests.
func follow(events io.Reader, out io.Writer) *result {
	outcome := map[string]string{}
	written := map[string][]string{}
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		switch {
		case e.Test == "":
			// This output belongs to no test: a panic or a timeout.
			if e.Action == "output" && !ending(e.Output) {
				_, _ = io.WriteString(out, e.Output)
			}
		case e.Action == "run":
			outcome[e.Test] = unfinished
		case e.Action == "output":
			written[e.Test] = append(written[e.Test], e.Output)
		case e.Action == pass, e.Action == fail, e.Action == skip:
			outcome[e.Test] = e.Action
			if e.Action == fail {
				_, _ = io.WriteString(out, strings.Join(written[e.Test], ""))
			}
			delete(written, e.Test)
		}
	}
	// The scanner stops at a line that is too long. Read the rest, so that the process can end.
	_, _ = io.Copy(io.Discard, events)
	for test, o := range outcome {
		if o == unfinished {
			_, _ = io.WriteString(out, strings.Join(written[test], ""))
		}
	}
	return &result{outcome: leaves(outcome)}
}

// ending reports whether a line is part of the end of every test run.
func ending(line string) bool {
	return line == "PASS\n" || line == "FAIL\n"
}

// leaves returns the outcomes of the tests without subtests.
func leaves(outcome map[string]string) map[string]string {
	parents := map[string]bool{}
	for test := range outcome {
		for i, c := range test {
			if c == '/' {
				parents[test[:i]] = true
			}
		}
	}
	left := map[string]string{}
	for test, o := range outcome {
		if !parents[test] {
			left[test] = o
		}
	}
	return left
}

// count returns the number of tests with an outcome.
func (r *result) count(outcome string) int {
	n := 0
	for _, o := range r.outcome {
		if o == outcome {
			n++
		}
	}
	return n
}

// ok reports whether tests ran and none failed.
func (r *result) ok() bool {
	return r.failed == nil && r.count(pass) > 0 && r.count(fail)+r.count(unfinished) == 0
}

// different lists the tests whose outcome differs from the reference's.
func (r *result) different(reference *result) []string {
	var list []string
	all := map[string]bool{}
	for _, outcomes := range []map[string]string{r.outcome, reference.outcome} {
		for test := range outcomes {
			all[test] = true
		}
	}
	for test := range all {
		if got, want := r.outcome[test], reference.outcome[test]; got != want {
			list = append(list,
				fmt.Sprintf("%s: %s, on %s %s", test, orMissing(got), reference.target, orMissing(want)))
		}
	}
	slices.Sort(list)
	return list
}

func orMissing(outcome string) string {
	if outcome == "" {
		return "missing"
	}
	return outcome
}

// reference is the target with which the others are compared.
const reference = "etcd"

// report writes the table and reports whether all passed.
func report(out io.Writer, results []*result) bool {
	ok := true
	var etcd *result
	for _, r := range results {
		if r.target == reference {
			etcd = r
		}
	}
	var details strings.Builder
	_, _ = fmt.Fprintln(out, "\n=== the API server's storage tests")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "target\tpassed\tfailed\tskipped\tunfinished\ttime\t")
	for _, r := range results {
		ok = ok && r.ok()
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%v\t", r.target, r.count(pass), r.count(fail), r.count(skip),
			r.count(unfinished), r.took.Round(time.Second))
		if etcd != nil && r != etcd {
			different := r.different(etcd)
			if len(different) == 0 {
				_, _ = fmt.Fprint(table, "each as on etcd")
			} else {
				ok = false
				_, _ = fmt.Fprintf(table, "%d not as on etcd", len(different))
				_, _ = fmt.Fprintf(&details, "\nnot as on etcd, %s:\n  %s\n", r.target, strings.Join(different, "\n  "))
			}
		}
		_, _ = fmt.Fprintln(table)
		if r.failed != nil {
			_, _ = fmt.Fprintf(&details, "\n%s: the tests ended with %v\n", r.target, r.failed)
		}
	}
	_ = table.Flush()
	_, _ = io.WriteString(out, details.String())
	return ok
}
