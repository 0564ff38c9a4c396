package server

import (
	"slices"
	"strings"
	"testing"
)

// TestParseClientURLs has the outcomes of etcd 3.7.3 for --advertise-client-urls.
func TestParseClientURLs(t *testing.T) {
	const port, path, scheme = "URL address does not have the form", "URL must not contain a path", "URL scheme must be"
	for text, refusal := range map[string]string{
		"http://host":           port,
		"http://[::1]":          port,
		"http://":               port,
		"http:a:1":              port,
		"http://h:2379/":        path,
		"http://h:2379/path":    path,
		"h:2379":                scheme,
		"a":                     scheme,
		"http//a:1":             scheme,
		"ftp://h:2379":          scheme,
		"http://a:1,":           scheme,
		",http://a:1":           scheme,
		"http://a:b":            "invalid port",
		"http://a:1:2":          "invalid port",
		"http://a b:1":          "invalid character",
		"http://:2379":          "unexpected empty host",
		"http://1.2.3.4:99999":  "",
		"http://h:2379":         "",
		"http://a:":             "",
		"http://a:0":            "",
		"http://a_b:1":          "",
		"http://[::1]:2379":     "",
		"http://0.0.0.0:2379":   "",
		"https://a:1":           "",
		"http://a:1?x=y":        "",
		"http://a:1#f":          "",
		"http://u:p@a:1":        "",
		"unix://":               "",
		"unix:///tmp/x":         "",
		"unixs://x:1":           "",
		"unix://localhost:1":    "",
		"unix:a":                "",
		" http://a:1 ":          "",
		"http://a:1,http://a:1": "",
	} {
		_, err := ParseClientURLs(strings.Split(text, ","))
		if (err == nil) != (refusal == "") || err != nil && !strings.Contains(err.Error(), refusal) {
			t.Errorf("%q: %v, want %q", text, err, refusal)
		}
	}
	urls, err := ParseClientURLs([]string{" http://b:2", "HTTP://a:1", "http://b:2"})
	if want := []string{"http://a:1", "http://b:2"}; err != nil || !slices.Equal(urls, want) {
		t.Errorf("%q, %v, want %q", urls, err, want)
	}
	if _, err := ParseURLs(nil); err == nil {
		t.Error("no URL is accepted")
	}
}
