package etcdsuite

import (
	"slices"
	"testing"
)

func TestExpectations(t *testing.T) {
	expected := expectations{
		{suite: "s", test: "TestWhole", targets: []string{"stele"}},
		{suite: "s", test: "TestPart/one", targets: []string{"sqlite"}},
		{suite: "s", test: "TestPart/two", targets: []string{"process?"}},
		{suite: "other", test: "TestPart/three", targets: []string{"stele"}},
	}
	for _, c := range []struct {
		test, target       string
		failed             []string
		unexpected, passed []string
	}{
		{"TestWhole", "sqlite", []string{"TestWhole/a", "TestWhole/b"}, nil, nil},
		{"TestWhole", "sqlite", nil, nil, []string{"TestWhole"}},
		{"TestWhole", etcdTarget, []string{"TestWhole"}, []string{"TestWhole"}, nil},
		{"TestPart", "sqlite", []string{"TestPart/one"}, nil, nil},
		{"TestPart", "sqlite", []string{"TestPart/two"}, nil, []string{"TestPart/one"}},
		{"TestPart", "postgres", []string{"TestPart/one", "TestPart/three"},
			[]string{"TestPart/one", "TestPart/three"}, nil},
	} {
		of := expected.of("s", c.test, c.target)
		if got := of.unexpected(c.failed); !slices.Equal(got, c.unexpected) {
			t.Errorf("%s on %s with %v: unexpected %v, want %v", c.test, c.target, c.failed, got, c.unexpected)
		}
		var passed []string
		for _, x := range of.passed(c.target, c.failed) {
			passed = append(passed, x.test)
		}
		if !slices.Equal(passed, c.passed) {
			t.Errorf("%s on %s with %v: passed %v, want %v", c.test, c.target, c.failed, passed, c.passed)
		}
	}
}

func TestReadOutcome(t *testing.T) {
	for _, c := range []struct {
		text    string
		exit    bool
		failed  []string
		skipped bool
	}{
		{"--- PASS: TestX (0.01s)\n", false, nil, false},
		{"--- SKIP: TestX (0.01s)\n", false, nil, true},
		{"--- FAIL: TestX (0.01s)\n    --- FAIL: TestX/a (0.01s)\n    --- SKIP: TestX/b (0.01s)\n", true,
			[]string{"TestX/a"}, false},
		{"panic: test timed out\n", true, []string{"TestX"}, false},
		{"--- PASS: TestX (0.01s)\nToo many goroutines\n", true, []string{"TestX"}, false},
	} {
		o := read("TestX", c.text, c.exit)
		if !slices.Equal(o.failed, c.failed) || o.skipped != c.skipped {
			t.Errorf("%q: failed %v, skipped %v; want %v, %v", c.text, o.failed, o.skipped, c.failed, c.skipped)
		}
	}
}
