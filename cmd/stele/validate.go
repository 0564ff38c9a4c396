package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/auth"
)

// check validates the flags without access to the network or the disk.
func (c *config) check() error {
	switch {
	case len(c.listenAddress) == 0:
		return errors.New("--listen-address: is empty; write host:port or unix://path")
	case c.serverCertFile != "" && c.serverKeyFile == "":
		return errors.New("--server-cert-file is set and --server-key-file is not; set both, or neither for plain text")
	case c.serverKeyFile != "" && c.serverCertFile == "":
		return errors.New("--server-key-file is set and --server-cert-file is not; set both, or neither for plain text")
	case c.trustedCAFile != "" && c.serverCertFile == "":
		return errors.New("--trusted-ca-file demands client certificates, which need TLS; " +
			"set --server-cert-file and --server-key-file too")
	case c.clientCertAuth && c.serverCertFile == "":
		return errors.New("--client-cert-auth demands client certificates, which need TLS; " +
			"set --server-cert-file and --server-key-file too")
	case auth.CheckBcryptCost(c.bcryptCost) != nil:
		return fmt.Errorf("--bcrypt-cost: %d: %w", c.bcryptCost, auth.ErrBcryptCost)
	case c.maxRequestBytes < 1 || c.maxRequestBytes > math.MaxInt32-(1<<20):
		return fmt.Errorf("--max-request-bytes: %d is not between 1 and %d", c.maxRequestBytes, math.MaxInt32-(1<<20))
	case c.maxTxnOps < 1:
		return fmt.Errorf("--max-txn-ops: %d is not a positive number", c.maxTxnOps)
	case c.valueCacheBytes < 0:
		return fmt.Errorf("--value-cache-bytes: %d is negative; 0 caches no values", c.valueCacheBytes)
	case logstructured.LeaseMode(c.leaseMode).Valid() != nil:
		return fmt.Errorf("--lease-mode: %q is neither ttl nor etcd", c.leaseMode)
	case c.pollInterval <= 0:
		return fmt.Errorf("--datastore-poll-interval: %v is not longer than 0; write a duration such as 10ms",
			c.pollInterval)
	case c.requestTimeout <= 0:
		return fmt.Errorf("--request-timeout: %v is not longer than 0; write a duration such as 7s", c.requestTimeout)
	case c.progressInterval <= 0:
		return fmt.Errorf("--watch-progress-notify-interval: %v is not longer than 0; write a duration such as 5s",
			c.progressInterval)
	case c.compactRetention <= 0:
		return fmt.Errorf("--compact-retention: %v is not longer than 0; write a duration such as 5m",
			c.compactRetention)
	}
	if err := c.tls.check(c.serverCertFile != "", c.trustedCAFile != "" || c.clientCertAuth); err != nil {
		return err
	}
	if err := c.checkKeepAlive(); err != nil {
		return err
	}
	if err := c.database.check(); err != nil {
		return err
	}
	if len(c.advertiseClientURLs) > 0 {
		urls, err := server.ParseClientURLs(c.advertiseClientURLs)
		if err != nil {
			return fmt.Errorf("--advertise-client-urls: %w; write URLs like http://stele.example:2379, with a port "+
				"and without a path", err)
		}
		c.advertiseClientURLs = urls
	}
	for _, origin := range c.cors {
		if u, err := url.Parse(origin); origin != "*" && (err != nil || !isOrigin(u)) {
			return fmt.Errorf("--cors: %q is not the origin of a web page; write it like https://page.example:8443, "+
				"without a path, or * for all", origin)
		}
	}
	return nil
}

// isOrigin reports whether u has the form that browsers send as the origin of a web page.
func isOrigin(u *url.URL) bool {
	return u.Host != "" && *u == url.URL{Scheme: u.Scheme, Host: u.Host} && (u.Scheme == "http" || u.Scheme == "https")
}

func (c *config) checkKeepAlive() error {
	for _, flag := range []struct {
		name  string
		value time.Duration
	}{
		{"--grpc-keepalive-min-time", c.keepAliveMinTime},
		{"--grpc-keepalive-interval", c.keepAliveInterval},
		{"--grpc-keepalive-timeout", c.keepAliveTimeout},
	} {
		if flag.value < 0 {
			return fmt.Errorf("%s: %v is negative; write a duration such as 20s", flag.name, flag.value)
		}
	}
	return nil
}
