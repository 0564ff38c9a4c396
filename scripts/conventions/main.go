package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

func main() {
	found, err := check()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conventions:", err)
		os.Exit(2)
	}
	for _, line := range found {
		fmt.Println(line)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

// check returns all deviations of the repository in the working directory.
func check() ([]string, error) {
	files, err := texts()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		found = append(found, wide(f)...)
	}
	suites, err := checkSuites(files)
	if err != nil {
		return nil, err
	}
	tags, err := checkTags()
	if err != nil {
		return nil, err
	}
	subjects, err := checkSubjects()
	if err != nil {
		return nil, err
	}
	return slices.Concat(found, suites, tags, subjects), nil
}

// file is one text file of the repository.
type file struct {
	name, text string
}

func (f file) markdown() bool { return path.Ext(f.name) == ".md" }

// at formats a deviation in a line, counted from 0.
func (f file) at(line int, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.name, line+1, fmt.Sprintf(format, args...))
}

// texts reads the files that are checked: Markdown, shell scripts, YAML and the Makefile. golangci-lint checks Go.
func texts() ([]file, error) {
	out, err := git("ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	var files []file
	for name := range strings.Lines(out) {
		name = strings.TrimSpace(name)
		content, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			return nil, err
		}
		switch path.Ext(name) {
		case ".md", ".yml", ".yaml":
		default:
			if name != "Makefile" && !bytes.HasPrefix(content, []byte("#!")) {
				continue
			}
		}
		files = append(files, file{name, string(content)})
	}
	return files, nil
}

func git(args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command("git", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
