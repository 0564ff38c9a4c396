package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

const (
	tablePage   = "test/README.md"
	suiteScript = "scripts/test-suite"
)

var (
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):.*## `)
	suiteNames = regexp.MustCompile(`(?m)^\t## ([^:]*): `)
	// tableRow is a row for a folder, which is a link or, if the folder has no page, code.
	tableRow = regexp.MustCompile("^\\| (?:\\[([a-z]+)\\]\\(([^)]+)\\)|`([a-z]+)`) \\|")
	// code is inline code or the line of a block: both may start with a command.
	makeInCode = regexp.MustCompile("(?m)(?:`|^(?:\\$ )?|^step .* )make ([a-z]([a-z-]*[a-z])?)")
	testTarget = regexp.MustCompile("`((?:test|bench)-[a-z-]+)`")
)

// checkSuites checks that every folder of test/ and every suite is in the table of tests, and that each target of make
// which a page, a script or the table names exists.
func checkSuites(files []file) ([]string, error) {
	targets := map[string]bool{}
	var suites []string
	for _, f := range files {
		switch f.name {
		case "Makefile":
			for _, m := range makeTarget.FindAllStringSubmatch(f.text, -1) {
				targets[m[1]] = true
			}
		case suiteScript:
			for _, m := range suiteNames.FindAllStringSubmatch(f.text, -1) {
				suites = append(suites, strings.Split(m[1], ", ")...)
			}
		}
	}
	for _, name := range suites {
		targets["test-"+name] = true
	}
	folders, err := testFolders()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		found = append(found, unknownTargets(f, targets)...)
		if f.name == tablePage {
			found = append(found, checkTable(f, folders, suites)...)
		}
	}
	return found, nil
}

func testFolders() ([]string, error) {
	entries, err := os.ReadDir("test")
	if err != nil {
		return nil, err
	}
	var folders []string
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	return folders, nil
}

// unknownTargets finds commands of make, and names of targets in code, for which there is no target.
func unknownTargets(f file, targets map[string]bool) []string {
	var found []string
	for n, line := range strings.Split(f.text, "\n") {
		var names []string
		for _, m := range makeInCode.FindAllStringSubmatch(line, -1) {
			names = append(names, m[1])
		}
		if f.markdown() {
			for _, m := range testTarget.FindAllStringSubmatch(line, -1) {
				names = append(names, m[1])
			}
		}
		for _, name := range names {
			if !targets[name] {
				found = append(found, f.at(n, "make has no target %s", name))
			}
		}
	}
	return found
}

// checkTable holds the rows of the table against the folders, and the targets in it against the suites.
func checkTable(page file, folders, suites []string) []string {
	var found, rows []string
	named := map[string]bool{}
	for n, line := range strings.Split(page.text, "\n") {
		if strings.HasPrefix(line, "|") {
			for _, t := range testTarget.FindAllStringSubmatch(line, -1) {
				named[strings.TrimPrefix(t[1], "test-")] = true
			}
		}
		m := tableRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[1] + m[3]
		rows = append(rows, name)
		if !slices.Contains(folders, name) {
			found = append(found, page.at(n, "test/ has no folder %s", name))
		}
		if m[2] != "" && !strings.HasPrefix(m[2], name+"/") {
			found = append(found, page.at(n, "the link of %s leads to %s", name, m[2]))
		}
		if cells := strings.Count(line, " |"); cells != 5 {
			found = append(found, page.at(n, "the row has %d cells instead of 5", cells))
		}
	}
	for _, name := range folders {
		if !slices.Contains(rows, name) {
			found = append(found, fmt.Sprintf("%s: the table has no row for the folder %s", page.name, name))
		}
	}
	for _, name := range suites {
		if !named[name] {
			found = append(found, fmt.Sprintf("%s: no table names `test-%s`", page.name, name))
		}
	}
	return found
}
