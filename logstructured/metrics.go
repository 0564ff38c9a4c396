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
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	m := &metrics{
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "append_duration_seconds", Help: "Time of one append to the log.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		entries:         counter("append_entries_total", "Entries handed to the database."),
		requests:        counter("append_requests_total", "Requests whose outcome was handed to the database."),
		conflicts:       counter("append_conflicts_total", "Appends that came after another process's."),
		unknown:         counter("append_unknown_total", "Appends whose outcome had to be found out."),
		recoveries:      counter("recoveries_total", "Times that the database was found to have gone back in time, and the revision jumped."),
		damaged:         counter("damaged_reads_total", "Reads of rows of the database that were damaged, and not served."),
		expired:         counter("lease_expired_keys_total", "Keys deleted because their TTL was over."),
		deleted:         counter("compaction_deleted_rows_total", "Rows of superseded revisions deleted from the database."),
		revision:        gauge("revision", "Current revision."),
		compactRevision: gauge("compact_revision", "Compact revision, -1 before the first compaction."),
		keys:            gauge("keys", "Keys in the index, deleted ones that were not compacted included."),
		indexBytes:      gauge("index_bytes", "Memory that the index of keys, revisions, leases and records takes up, by estimate."),
		watchers:        gauge("watchers", "Watchers of all watch streams."),
		events:          counter("watch_events_total", "Events handed to watch streams."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.appends, m.entries, m.requests, m.conflicts, m.unknown, m.recoveries, m.damaged, m.expired, m.deleted, m.revision, m.compactRevision, m.keys,
		m.indexBytes, m.watchers, m.events,
	} {
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
