package logstructured

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// Options configure a [Store].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Registerer receives the store's metrics; nil registers none.
	Registerer prometheus.Registerer
	// ValueCacheBytes bounds the values kept in memory; 0 is [DefaultValueCacheBytes], negative none.
	ValueCacheBytes int64
	// RequestTimeout ends requests whose context has no earlier deadline; 0 is [DefaultRequestTimeout].
	RequestTimeout time.Duration
	// PollInterval is how often the store polls the log for entries of other processes while these write; 0 is
	// [DefaultPollInterval]. It polls two fifths as often while they do not write, and a tenth as often if there are no
	// watchers or the database sends notifications of appends.
	PollInterval time.Duration
	// CompactRetention is how long the rows of superseded revisions stay in the database after the compaction that
	// made them unreachable, for replicas that lag; 0 is [DefaultCompactRetention].
	CompactRetention time.Duration
	// LeaseMode is the kind of leases; empty is [LeaseModeTTL]. It must be the mode of the log, unless the log is
	// empty.
	LeaseMode LeaseMode
	// QuotaBytes is how large the database may be before writes are refused; 0 or less is no limit.
	QuotaBytes int64
	// MaxIndexBytes is how much memory the index may take up, by estimate, before writes are refused; 0 or less is no
	// limit. It bounds neither cached values nor the memory of requests.
	MaxIndexBytes int64
	// Loading, if not nil, is called while the index is built, with the last position that was read and the approximate
	// end.
	Loading func(read, end log.Position)
	// ProgressInterval is the period of watch progress notifications; 0 is [DefaultProgressInterval].
	ProgressInterval time.Duration
}

// Defaults of [Options].
const (
	DefaultValueCacheBytes = 256 << 20
	// DefaultRequestTimeout is etcd's.
	DefaultRequestTimeout = 7 * time.Second
	DefaultPollInterval   = 10 * time.Millisecond
	// DefaultCompactRetention leaves replicas that lag enough time to read superseded revisions.
	DefaultCompactRetention = 5 * time.Minute
	// DefaultProgressInterval is the period that Kubernetes sets for etcd.
	DefaultProgressInterval = 5 * time.Second
)

func (o Options) withDefaults() Options {
	setDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	setDefault(&o.RequestTimeout, DefaultRequestTimeout)
	setDefault(&o.PollInterval, DefaultPollInterval)
	setDefault(&o.CompactRetention, DefaultCompactRetention)
	setDefault(&o.ProgressInterval, DefaultProgressInterval)
	if o.LeaseMode == "" {
		o.LeaseMode = LeaseModeTTL
	}
	if o.ValueCacheBytes == 0 {
		o.ValueCacheBytes = DefaultValueCacheBytes
	}
	return o
}
