package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// ParseURLs returns the URLs of a member as etcd lists them, sorted and without spaces and duplicates. It refuses the
// same URLs as etcd, with etcd's messages: see NewURLs in client/pkg/types. As in etcd, the port is not checked
// further, and a Unix socket may have any name.
func ParseURLs(texts []string) ([]string, error) {
	if len(texts) == 0 {
		return nil, errors.New("no valid URLs given")
	}
	urls := make([]string, len(texts))
	for i, text := range texts {
		u, err := parseURL(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		urls[i] = u.String()
	}
	slices.Sort(urls)
	return slices.Compact(urls), nil
}

// ParseClientURLs is ParseURLs for URLs that are advertised to clients, which need a host.
func ParseClientURLs(texts []string) ([]string, error) {
	urls, err := ParseURLs(texts)
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil && strings.HasPrefix(u.Scheme, "http") && u.Hostname() == "" {
			return nil, fmt.Errorf("unexpected empty host (%s)", text)
		}
	}
	return urls, err
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https":
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return nil, fmt.Errorf(`URL address does not have the form "host:port": %s`, text)
		}
		if u.Path != "" {
			return nil, fmt.Errorf("URL must not contain a path: %s", text)
		}
	case "unix", "unixs":
	default:
		return nil, fmt.Errorf("URL scheme must be http, https, unix, or unixs: %s", text)
	}
	return u, nil
}
