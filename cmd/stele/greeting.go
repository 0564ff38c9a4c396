package main

import (
	"fmt"
	"io"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/endpoint"
	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server/transport"
)

// leaseGreetings describe the lease modes and the programs that each of them is for.
var leaseGreetings = map[logstructured.LeaseMode]string{
	logstructured.LeaseModeTTL:  "ttl, for Kubernetes (locks, elections, service registries: --lease-mode=etcd)",
	logstructured.LeaseModeEtcd: "etcd, for all clients",
}

// greet writes the place of the data and a command for connecting to standard output, or logs them if the log is JSON.
func (c *config) greet(l *transport.Listener, stdout io.Writer, logger *logrus.Entry) {
	url := endpoint.Absolute(endpoint.Reachable(l.URL()))
	data := drivers.Describe(c.database.endpoint)
	client := "etcdctl --endpoints=" + url
	if l.Secure() {
		client += " --cacert=<ca.crt>"
		if c.trustedCAFile != "" {
			client += " --cert=<client.crt> --key=<client.key>"
		}
	}
	client += " put hello world"
	if c.log.format == "json" {
		logger.WithFields(logrus.Fields{
			"version": version.Version, "url": url, "data": data, "connect": client, "lease-mode": c.leaseMode,
		}).Info("Stele serves etcd's API")
		return
	}
	_, err := fmt.Fprintf(stdout, "Stele %s serves etcd's API on %s\n  data     %s\n  leases   %s\n  connect  %s\n",
		version.Version, url, data, leaseGreetings[logstructured.LeaseMode(c.leaseMode)], client)
	if err != nil {
		logger.WithError(err).Debug("could not write the greeting to standard output")
	}
}
