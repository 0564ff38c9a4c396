package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// maxColumns is the bound of golangci-lint's lll, too.
	maxColumns = 120
	tabWidth   = 4
)

// address is what no line can be wrapped at: the target of a link, or a URL.
var address = regexp.MustCompile(`\]\([^)]*\)|https?://\S+`)

// generated is in the pages that a program writes.
const generated = "writes this page"

// wide returns the lines that have too many columns. In Markdown, tables and blocks of code may be wider, and so may a
// line anywhere that only an address makes too wide.
func wide(f file) []string {
	if f.markdown() && strings.Contains(f.text, generated) {
		return nil
	}
	var found []string
	code := false
	for n, line := range strings.Split(f.text, "\n") {
		if f.markdown() {
			trimmed := strings.TrimSpace(line)
			if strings.HasPrefix(trimmed, "```") {
				code = !code
			}
			if code || strings.HasPrefix(trimmed, "|") {
				continue
			}
		}
		if columns(address.ReplaceAllString(line, "")) > maxColumns {
			found = append(found, f.at(n, "%d columns, of at most %d", columns(line), maxColumns))
		}
	}
	return found
}

func columns(line string) int {
	tabs := strings.Count(line, "\t")
	return utf8.RuneCountInString(line) + tabs*(tabWidth-1)
}
