package etcdsuite

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
)

// expectation is a test that is expected to fail, with the reason.
type expectation struct {
	suite, test string
	// targets are where it fails: process (any server that is a separate process, including etcd), stele (all
	// databases), or the names of databases. A question mark marks a target on which it fails at times.
	targets []string
	reason  string
}

// expectations are the lines of expected.txt.
type expectations []expectation

// readExpectations parses lines of four columns, which are separated by blanks: suite, test, targets with commas
// between them, and the reason.
func readExpectations(path string) (expectations, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var all expectations
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 {
			return nil, fmt.Errorf("%s: %q has no reason", path, line)
		}
		all = append(all, expectation{
			suite: fields[0], test: fields[1], targets: strings.Split(fields[2], ","),
			reason: strings.Join(fields[3:], " "),
		})
	}
	return all, nil
}

// of returns the expectations that a test, or one below it, fails on a target.
func (e expectations) of(suite, test, target string) expectations {
	var of expectations
	for _, x := range e {
		always, atTimes := x.on(target)
		if x.suite == suite && below(x.test, test) && (always || atTimes) {
			of = append(of, x)
		}
	}
	return of
}

// unexpected returns the failed tests that are not expected to fail.
func (e expectations) unexpected(failed []string) []string {
	expected := func(test string) bool {
		return slices.ContainsFunc(e, func(x expectation) bool { return below(test, x.test) })
	}
	return slices.DeleteFunc(slices.Clone(failed), expected)
}

// passed returns the expectations that were not met on a target.
func (e expectations) passed(target string, failed []string) expectations {
	return slices.DeleteFunc(slices.Clone(e), func(x expectation) bool {
		_, atTimes := x.on(target)
		return atTimes || slices.ContainsFunc(failed, func(test string) bool { return below(test, x.test) })
	})
}

// below reports whether a test is another one or below it.
func below(test, other string) bool { return test == other || strings.HasPrefix(test, other+"/") }

// on reports whether the test fails on a target.
func (x expectation) on(target string) (always, atTimes bool) {
	names := []string{target, "process"}
	if target != etcdTarget {
		names = append(names, "stele")
	}
	for _, name := range names {
		always = always || slices.Contains(x.targets, name)
		atTimes = atTimes || slices.Contains(x.targets, name+"?")
	}
	return always, atTimes
}

// foreign returns why a test cannot pass on any server that is a separate process.
func (e expectations) foreign(suite, test string) (reason string, ok bool) {
	for _, x := range e {
		if x.suite == suite && x.test == test && slices.Contains(x.targets, "process") {
			return x.reason, true
		}
	}
	return "", false
}
