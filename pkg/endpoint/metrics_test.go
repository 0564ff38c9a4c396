package endpoint

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// names returns the names of the metrics in r, with their values.
func names(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		found[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	return found
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	var said output
	config := Config{MetricsRegisterer: registry, Logger: logTo(&said)}
	first := start(t, config)
	put(t, first.client(), "k", "v")
	there := names(t, registry)
	if there["stele_revision"] != 2 {
		t.Errorf("the revision is shown as %v", there["stele_revision"])
	}
	if _, ok := there["grpc_server_handled_total"]; !ok {
		t.Error("there are no metrics of grpc")
	}
	if strings.Contains(said.String(), "names are taken") {
		t.Errorf("said %s", said.String())
	}

	second := start(t, config)
	put(t, second.client(), "k", "v")
	put(t, second.client(), "k", "v")
	if shown := names(t, registry)["stele_revision"]; shown != 2 {
		t.Errorf("the revision is shown as %v, and not the first one's", shown)
	}
	if n := strings.Count(said.String(), "names are taken"); n != 1 {
		t.Errorf("said %d times that names are taken: %s", n, said.String())
	}
	second.stop()
	if shown := names(t, registry)["stele_revision"]; shown != 2 {
		t.Errorf("the revision is shown as %v after the second has stopped", shown)
	}

	first.stop()
	if left := names(t, registry); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	third := start(t, config)
	put(t, third.client(), "k", "v")
	put(t, third.client(), "k", "v")
	if shown := names(t, registry)["stele_revision"]; shown != 3 {
		t.Errorf("the revision is shown as %v, and not the third one's", shown)
	}
}

// With labels, a registry shows the metrics of several datastores.
func TestMetricsWithLabels(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for _, name := range []string{"one", "two"} {
		start(t,
			Config{MetricsRegisterer: prometheus.WrapRegistererWith(prometheus.Labels{"datastore": name}, registry)})
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "stele_revision" && len(f.GetMetric()) == 2 {
			return
		}
	}
	t.Error("not both revisions are shown")
}

// The program that embeds Stele may have its own gRPC metrics.
func TestForeignMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	foreign := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grpc_server_handled_total",
		Help: "Something else."}, []string{"other"})
	foreign.WithLabelValues("x").Inc()
	registry.MustRegister(foreign)
	var said output
	s := start(t, Config{MetricsRegisterer: registry, Logger: logTo(&said)})
	put(t, s.client(), "k", "v")
	if shown := names(t, registry)["stele_revision"]; shown != 2 {
		t.Errorf("the revision is shown as %v", shown)
	}
	if !strings.Contains(said.String(), "names are taken") {
		t.Errorf("said %s", said.String())
	}
	s.stop()
	if left := names(t, registry); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// A failed start unregisters its metrics.
func TestMetricsOfAFailedStart(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := tryStart(t, Config{MetricsRegisterer: registry, Endpoint: "sqlite://" + t.TempDir()}); err == nil {
		t.Fatal("a directory is a database")
	}
	if left := names(t, registry); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
