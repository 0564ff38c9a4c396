package programs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testBinary builds the tests of a Go package in the module of a directory below this one, which holds the versions.
func testBinary(t *testing.T, dir, pkg string, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tests")
	cmd := exec.CommandContext(t.Context(), "go",
		slices.Concat([]string{"test", "-c", "-o", binary}, flags, []string{pkg})...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
	}
	return binary
}

var outcome = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// goTest runs the tests of a binary that match a pattern, with STELE_TEST_ADDRESS, and returns a line with the outcome
// of each. None may fail.
func goTest(t *testing.T, binary, pattern, address string) string {
	t.Helper()
	var outcomes []string
	for line := range strings.Lines(output(t, t.TempDir(), "env", "STELE_TEST_ADDRESS="+address, binary, "-test.v",
		"-test.run="+pattern)) {
		if m := outcome.FindStringSubmatch(line); m != nil {
			outcomes = append(outcomes, m[2]+" "+m[1])
		}
	}
	if len(outcomes) == 0 {
		t.Fatal("no test has run")
	}
	slices.Sort(outcomes)
	return strings.Join(outcomes, "\n")
}
