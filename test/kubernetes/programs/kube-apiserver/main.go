//go:build controlplane

// Command kube-apiserver is Kubernetes' kube-apiserver with two additional settings, which the tests need:
//
//   - STELE_TEST_HOST replaces the name of the host, because two API servers on one host would have one identity.
//   - STELE_TEST_CHECK_PERIOD is the interval at which the watch caches are compared with the store ("20s"); the
//     default is 5 minutes.
//
// The build tag hides it from linters, except in CI, because they would have to compile all of Kubernetes.
package main

import (
	"fmt"
	"os"
	"time"
	_ "time/tzdata" // the time zones of CronJobs

	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the clients
	_ "k8s.io/component-base/metrics/prometheus/version"  // metrics of the version
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if host := os.Getenv("STELE_TEST_HOST"); host != "" {
		server.SetHostnameFuncForTests(host)
	}
	if period := os.Getenv("STELE_TEST_CHECK_PERIOD"); period != "" {
		d, err := time.ParseDuration(period)
		if err != nil {
			fmt.Fprintln(os.Stderr, "STELE_TEST_CHECK_PERIOD:", err)
			os.Exit(1)
		}
		cacher.ConsistencyCheckPeriod = d
	}
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
