package server

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stele-db/stele/pkg/version"
)

// versionMetrics returns gauges with the value 1 and the versions as labels: Stele's own gauge, and etcd's gauges.
func versionMetrics() []prometheus.Collector {
	constant := func(name, help string, labels prometheus.Labels) prometheus.Collector {
		opts := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}
		return prometheus.NewGaugeFunc(opts, func() float64 { return 1 })
	}
	return []prometheus.Collector{
		constant("stele_build_info", "The version and commit of Stele, and the version of Go that it was built with.",
			prometheus.Labels{
				"version": version.Version, "commit": version.GitCommit, "go_version": runtime.Version(),
			}),
		constant("etcd_server_version", "The version of etcd whose API is served.",
			prometheus.Labels{"server_version": version.Etcd}),
		constant("etcd_server_go_version", "The version of Go that the server was built with.",
			prometheus.Labels{"server_go_version": runtime.Version()}),
	}
}
