package kubernetes

import (
	"bytes"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics are the metrics of an API server at one moment.
type metrics map[string]*dto.MetricFamily

func scrape(t *testing.T, a *apiServer) metrics {
	t.Helper()
	data, err := a.client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// histogram returns the sum and the count of a histogram for a resource.
func (m metrics) histogram(name, resource string) (sum float64, count uint64) {
	for _, metric := range m[name].GetMetric() {
		if label(metric, "resource") == resource {
			sum += metric.GetHistogram().GetSampleSum()
			count += metric.GetHistogram().GetSampleCount()
		}
	}
	return sum, count
}

func label(metric *dto.Metric, name string) string {
	for _, pair := range metric.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}
