package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server"
)

// greeting says where the data is and how to connect, with a command to copy.
func (c *config) greeting(l *server.Listener) string {
	url := reachable(l.URL())
	client := "etcdctl --endpoints=" + url
	if l.Secure() {
		client += " --cacert=<ca.crt>"
		if c.trustedCAFile != "" {
			client += " --cert=<client.crt> --key=<client.key>"
		}
	}
	return fmt.Sprintf(`Stele %s serves etcd's API on %s
  data     %s
  connect  %s put hello world
`, version.Version, url, location(c.endpoint), client)
}

// reachable replaces the address that means every interface with one that a client can connect to.
func reachable(url string) string {
	return strings.NewReplacer("://[::]:", "://127.0.0.1:", "://0.0.0.0:", "://127.0.0.1:").Replace(url)
}

// location says where the data of endpoint is.
func location(endpoint string) string {
	if endpoint == "" {
		endpoint = drivers.DefaultDSN
	}
	if _, rest, found := strings.Cut(endpoint, "://"); found {
		endpoint = rest
	}
	path, _, _ := strings.Cut(endpoint, "?")
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path
}
