package logstructured

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	appends         prometheus.Histogram
	entries         prometheus.Counter
	requests        prometheus.Counter
	conflicts       prometheus.Counter
	unknown         prometheus.Counter
	recoveries      prometheus.Counter
	damaged         prometheus.Counter
	expired         prometheus.Counter
	deleted         prometheus.Counter
	revision        prometheus.Gauge
	compactRevision prometheus.Gauge
	keys            prometheus.Gauge
	indexBytes      prometheus.Gauge
	watchers        prometheus.Gauge
	events          prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const namespace = "stele"
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
		all = append(all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
		all = append(all, g)
		return g
	}
	m := &metrics{
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "append_duration_seconds", Help: "Time of one append to the log.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		entries:         counter("append_entries_total", "Entries sent to the database."),
		requests:        counter("append_requests_total", "Requests that were part of an append."),
		conflicts:       counter("append_conflicts_total", "Appends that conflicted with another process."),
		unknown:         counter("append_unknown_total", "Appends with an unknown outcome."),
		recoveries:      counter("recoveries_total", "Times that the database went back in time."),
		damaged:         counter("damaged_reads_total", "Reads that failed because the row is damaged."),
		expired:         counter("lease_expired_keys_total", "Keys deleted because their TTL or lease ended."),
		deleted:         counter("compaction_deleted_rows_total", "Compacted rows deleted from the database."),
		revision:        gauge("revision", "Current revision."),
		compactRevision: gauge("compact_revision", "Compact revision, -1 before the first compaction."),
		keys:            gauge("keys", "Keys in the index, including deleted keys until they are compacted."),
		indexBytes:      gauge("index_bytes", "Estimated memory of the index: keys, revisions, leases and records."),
		watchers:        gauge("watchers", "Watchers of all watch streams."),
		events:          counter("watch_events_total", "Events sent to watch streams."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range append(all, m.appends) {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) appended(took time.Duration, entries, requests int) {
	m.appends.Observe(took.Seconds())
	m.entries.Add(float64(entries))
	m.requests.Add(float64(requests))
}

func (m *metrics) published(s *snapshot) {
	m.revision.Set(float64(s.revision))
	m.compactRevision.Set(float64(s.compact))
	m.keys.Set(float64(s.keys.Len()))
	m.indexBytes.Set(float64(s.indexBytes()))
}
