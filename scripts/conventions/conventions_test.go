package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWide(t *testing.T) {
	long := strings.Repeat("word ", 25)
	for name, c := range map[string]struct {
		file  string
		lines []string
		want  int
	}{
		"a line of prose":        {"a.md", []string{long}, 1},
		"120 columns":            {"a.md", []string{strings.Repeat("ä", 120)}, 0},
		"a row of a table":       {"a.md", []string{"| " + long + " |"}, 0},
		"a block of code":        {"a.md", []string{"```", long, "```", long}, 1},
		"a link":                 {"a.md", []string{"[text](https://" + strings.Repeat("x", 120) + ") is short"}, 0},
		"prose with a link":      {"a.md", []string{long + "[text](page.md)"}, 1},
		"a comment with a URL":   {"run", []string{"# https://" + strings.Repeat("x", 120)}, 0},
		"a generated page":       {"a.md", []string{"`make bench-docs` writes this page.", long}, 0},
		"a table in a script":    {"run", []string{"| " + long + " |"}, 1},
		"tabs have four columns": {"Makefile", []string{strings.Repeat("\t", 30) + "x"}, 1},
	} {
		if got := wide(file{c.file, strings.Join(c.lines, "\n")}); len(got) != c.want {
			t.Errorf("%s: got %q, want %d lines", name, got, c.want)
		}
	}
}

func TestCheckSubject(t *testing.T) {
	for text, want := range map[string]string{
		"server: name the lease in errors":             "",
		"cmd/stele, pkg: wrap lines":                   "",
		".ci: run the linter first":                    "",
		"drivers/*: log the version":                   "",
		"Notify other replicas only":                   "form",
		"server:name the lease":                        "form",
		"server name the lease":                        "form",
		"server: " + strings.Repeat("x", maxSubject-8): "",
		"server: " + strings.Repeat("x", maxSubject-7): "73 characters",
	} {
		if got := checkSubject(text); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestCheckTable(t *testing.T) {
	const head = "| folder | question | needs | minutes | make target |\n|---|---|---|---|---|\n"
	const good = head + "| [crash](crash/doc.go) | q | | 1 | `test-crash` |\n| `internal` | q | | | |\n"
	folders, suites := []string{"crash", "internal"}, []string{"crash"}
	for text, want := range map[string]string{
		good: "",
		strings.Replace(good, "crash/doc", "clash/doc", 1): "test/README.md:3: the link of crash leads to clash/doc.go",
		strings.Replace(good, " | 1 |", " |", 1):           "test/README.md:3: the row has 4 cells instead of 5",
		strings.Replace(good, "`internal`", "`faults`", 1): "test/README.md:4: test/ has no folder faults; " +
			"test/README.md: the table has no row for the folder internal",
		strings.Replace(good, "`test-crash`", "", 1): "test/README.md: no table names `test-crash`",
	} {
		if got := strings.Join(checkTable(file{tablePage, text}, folders, suites), "; "); got != want {
			t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestUnknownTargets(t *testing.T) {
	targets := map[string]bool{"test": true, "test-crash": true}
	text := "`make test`, `make test-NAME`, `make nothing` and `test-crash`, `test-clash`\n" +
		"make test-crash TIME=5m\nmake docs\nprograms make mistakes\n"
	want := []string{"a.md:1: make has no target nothing", "a.md:1: make has no target test-clash",
		"a.md:3: make has no target docs"}
	if got := unknownTargets(file{"a.md", text}, targets); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnknownTags(t *testing.T) {
	const config = "run:\n  build-tags: [soak, faults]\n"
	const script = "lint . --build-tags memlog ./server\n"
	tags := []string{"!faults", "kubernetes && linux", "memlog", "race", "soak || unix"}
	if got, want := unknownTags(tags, config, script), []string{"kubernetes"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
