package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

var (
	tagName    = regexp.MustCompile(`\w+`)
	configTags = regexp.MustCompile(`build-tags: \[(.*)\]`)
	scriptTags = regexp.MustCompile(`-tags (\S+)`)
)

// platformTags are set by Go itself.
var platformTags = []string{"darwin", "linux", "race", "unix"}

// checkTags checks that the linter sees the files of every build tag.
func checkTags() ([]string, error) {
	lines, err := git("grep", "-h", "^//go:build ", "--", "*.go")
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(".golangci.yml")
	if err != nil {
		return nil, err
	}
	script, err := os.ReadFile("scripts/lint")
	if err != nil {
		return nil, err
	}
	var expressions []string
	for line := range strings.Lines(lines) {
		expressions = append(expressions, strings.TrimPrefix(line, "//go:build "))
	}
	var found []string
	for _, tag := range unknownTags(expressions, string(config), string(script)) {
		found = append(found, fmt.Sprintf(".golangci.yml, scripts/lint: no run has the build tag %s", tag))
	}
	return found, nil
}

// unknownTags returns the tags of the expressions that neither the linter's configuration nor its script sets.
func unknownTags(expressions []string, config, script string) []string {
	known := slices.Clone(platformTags)
	if m := configTags.FindStringSubmatch(config); m != nil {
		known = append(known, tagName.FindAllString(m[1], -1)...)
	}
	for _, m := range scriptTags.FindAllStringSubmatch(script, -1) {
		known = append(known, m[1])
	}
	var unknown []string
	for _, expression := range expressions {
		for _, tag := range tagName.FindAllString(expression, -1) {
			if !slices.Contains(known, tag) && !slices.Contains(unknown, tag) {
				unknown = append(unknown, tag)
			}
		}
	}
	return unknown
}
