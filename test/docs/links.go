package docs

import (
	"regexp"
	"strings"
)

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	dropped   = regexp.MustCompile("[^a-z0-9 _-]")
	separator = regexp.MustCompile(" ")
)

// hasHeading reports whether a page has a heading with that anchor, by the rule of the usual renderers.
func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(page) {
		title := strings.TrimLeft(line, "#")
		if title == line {
			continue
		}
		name := dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		if separator.ReplaceAllString(name, "-") == anchor {
			return true
		}
	}
	return false
}
