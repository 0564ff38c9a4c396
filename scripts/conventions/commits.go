package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// baseCommit is the last commit whose subject is not checked, nor are those before it.
	baseCommit = "63abbed"
	maxSubject = 72
)

// subject is `area: what it does`, where the area is a package or a folder, or several of them.
var subject = regexp.MustCompile(`^[a-z0-9.][\w./*-]*(, [a-z0-9.][\w./*-]*)*: \S`)

// checkSubjects checks the commits after baseCommit. A clone without that commit, such as a shallow one, has nothing to
// check.
func checkSubjects() ([]string, error) {
	if _, missing := git("merge-base", "--is-ancestor", baseCommit, "HEAD"); missing != nil {
		fmt.Fprintf(os.Stderr, "conventions: no subject is checked, because commit %s is not in the history\n",
			baseCommit)
		return nil, nil //nolint:nilerr // not a failure, see above
	}
	log, err := git("log", "--no-merges", "--format=%h %s", baseCommit+"..HEAD")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(log) {
		hash, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if problem := checkSubject(text); problem != "" {
			found = append(found, fmt.Sprintf("commit %s: %s: %q", hash, problem, text))
		}
	}
	return found, nil
}

// checkSubject returns the problem of a subject, or nothing.
func checkSubject(text string) string {
	switch n := utf8.RuneCountInString(text); {
	case !subject.MatchString(text):
		return "the subject is not of the form `area: what it does`"
	case n > maxSubject:
		return fmt.Sprintf("the subject has %d characters, of at most %d", n, maxSubject)
	}
	return ""
}
