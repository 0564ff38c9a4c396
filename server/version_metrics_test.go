package server

import (
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestVersionMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	serve(t, func(o *Options) { o.Registerer = registry })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if m.GetGauge().GetValue() == 1 {
					got[family.GetName()+" "+label.GetName()] = label.GetValue()
				}
			}
		}
	}
	for name, want := range map[string]string{
		"stele_build_info version":                 "dev",
		"stele_build_info commit":                  "unknown",
		"stele_build_info go_version":              runtime.Version(),
		"etcd_server_version server_version":       "3.7.3",
		"etcd_server_go_version server_go_version": runtime.Version(),
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}
