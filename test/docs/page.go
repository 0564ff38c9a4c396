package docs

import (
	"os"
	"regexp"
	"strings"
)

// page is a parsed page of the documentation.
type page struct {
	name     string
	commands []command
	// plain are the blocks without output.
	plain []string
}

// command is a command on a page, and its output.
type command struct {
	line   int
	text   string
	output string
}

func readPage(path string) (*page, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &page{name: path}
	fence := ""
	var plain []string
	for i, line := range strings.Split(string(content), "\n") {
		info, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && fence == "":
			fence = "```" + info
		case isFence:
			if fence == "```sh" {
				p.plain = append(p.plain, strings.Join(plain, "\n"))
			}
			fence, plain = "", nil
		case fence == "```sh":
			plain = append(plain, line)
		case fence == "```console" && strings.HasPrefix(line, "$ "):
			p.commands = append(p.commands, command{line: i + 1, text: line[2:]})
		case fence == "```console" && len(p.commands) > 0:
			p.commands[len(p.commands)-1].output += line + "\n"
		}
	}
	return p, nil
}

// matches reports whether got is the output on the page, ignoring trailing white space.
func matches(shown, got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.Lines(strings.TrimSpace(shown) + "\n") {
		line = strings.TrimRight(line, " \n")
		if line == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "...") {
			if i > 0 {
				pattern.WriteString(`.*`)
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString(`[ ]*\n`)
	}
	pattern.WriteString(`\z`)
	got = strings.TrimSpace(got)
	if got != "" || strings.TrimSpace(shown) == "" {
		got += "\n"
	}
	return regexp.MustCompile(pattern.String()).MatchString(got)
}
