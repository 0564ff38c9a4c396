package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/stele-db/stele/compactor"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/auth"
)

// config holds the values of the flags. docs/configuration.md has the reasons for the defaults.
type config struct {
	listenAddress       string
	insecureListen      bool
	advertiseClientURLs []string
	cors                []string
	name                string
	serverCertFile      string
	serverKeyFile       string
	trustedCAFile       string
	clientCertAuth      bool
	tls                 tlsConfig
	keepAliveMinTime    time.Duration
	keepAliveInterval   time.Duration
	keepAliveTimeout    time.Duration

	authToken    string
	authTokenTTL uint
	bcryptCost   int

	database databaseConfig

	pollInterval     time.Duration
	valueCacheBytes  int64
	maxIndexBytes    int64
	requestTimeout   time.Duration
	maxRequestBytes  int
	maxTxnOps        int
	maxStreams       uint32
	quotaBytes       int64
	leaseMode        string
	progressInterval time.Duration

	compactInterval         time.Duration
	compactIntervalJitter   int
	compactTimeout          time.Duration
	compactMinRetain        int64
	compactRetention        time.Duration
	autoCompactionMode      string
	autoCompactionRetention string

	metricsAddress   string
	metricsIgnoreTLS bool
	metricsProfiling bool

	log logConfig
}

// flags declares every flag, in the order of the help text.
func (c *config) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	fs.SortFlags = false
	c.portFlags(fs)
	c.authFlags(fs)
	c.database.flags(fs)
	c.storeFlags(fs)
	c.compactionFlags(fs)
	c.metricsFlags(fs)
	c.log.flags(fs)
	retiredFlags(fs)
	return fs
}

// portFlags declare the client port.
func (c *config) portFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.listenAddress, "listen-address", "127.0.0.1:2379",
		"address to serve clients on: host:port or unix://path")
	fs.BoolVar(&c.insecureListen, "insecure-listen", false,
		"allow plain text on an address that other machines can reach")
	fs.StringSliceVar(&c.advertiseClientURLs, "advertise-client-urls", nil,
		"client URLs in the member list (default: the address served on)")
	fs.StringSliceVar(&c.cors, "cors", nil,
		"origins whose web pages may use the JSON gateway, such as https://page.example, or * for all (default: none)")
	fs.StringVar(&c.name, "name", server.DefaultName, "name of this replica in the member list")
	fs.StringVar(&c.serverCertFile, "server-cert-file", "", "certificate of the client port; enables TLS")
	fs.StringVar(&c.serverKeyFile, "server-key-file", "", "private key of --server-cert-file")
	fs.StringVar(&c.trustedCAFile, "trusted-ca-file", "",
		"CA that must have signed client certificates; makes them mandatory")
	fs.BoolVar(&c.clientCertAuth, "client-cert-auth", false,
		"require client certificates; if authentication is enabled, the common name is the user")
	c.tls.flags(fs)
	mark(fs, kineFlag, "listen-address", "server-cert-file", "server-key-file", "trusted-ca-file")
}

// authFlags declare users and tokens.
func (c *config) authFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.authToken, "auth-token", "simple",
		"token type: simple, or jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=5m")
	fs.UintVar(&c.authTokenTTL, "auth-token-ttl", uint(auth.DefaultTokenTTL/time.Second),
		"seconds until an unused simple token expires")
	fs.IntVar(&c.bcryptCost, "bcrypt-cost", auth.DefaultBcryptCost, "bcrypt cost of password hashes, 4 to 31")
}

// storeFlags declare the limits and timers of the store and of the server.
func (c *config) storeFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.database.besideKine, "beside-kine", false,
		"start with an empty log in a database that holds a table kine, without importing it")
	fs.DurationVar(&c.pollInterval, "datastore-poll-interval", logstructured.DefaultPollInterval,
		"how often to poll for entries of other replicas")
	sizeVar(fs, &c.valueCacheBytes, "value-cache-bytes", logstructured.DefaultValueCacheBytes,
		"memory for cached values; 0 disables the cache")
	sizeVar(fs, &c.maxIndexBytes, "max-index-bytes", 0,
		"refuse writes when the index of keys and revisions needs more memory than this; "+
			"0 is half of the available memory, a negative size is no limit")
	fs.DurationVar(&c.requestTimeout, "request-timeout", logstructured.DefaultRequestTimeout,
		"timeout of requests without an earlier deadline of the client")
	sizeVar(fs, &c.maxRequestBytes, "max-request-bytes", server.DefaultMaxRequestBytes, "largest accepted request")
	fs.IntVar(&c.maxTxnOps, "max-txn-ops", server.DefaultMaxTxnOps, "maximum number of operations in a transaction")
	fs.Uint32Var(&c.maxStreams, "max-concurrent-streams", server.DefaultMaxConcurrentStreams,
		"maximum number of open requests and streams on one connection; 0 is no limit")
	fs.DurationVar(&c.keepAliveMinTime, "grpc-keepalive-min-time", server.DefaultKeepAliveMinTime,
		"close connections of clients that ping more often than this; 0 is gRPC's 5m")
	fs.DurationVar(&c.keepAliveInterval, "grpc-keepalive-interval", server.DefaultKeepAliveInterval,
		"ping clients on connections that are idle for this long; 0 is gRPC's 2h")
	fs.DurationVar(&c.keepAliveTimeout, "grpc-keepalive-timeout", server.DefaultKeepAliveTimeout,
		"close connections of clients that do not answer such a ping within this time; 0 is gRPC's 20s")
	sizeVar(fs, &c.quotaBytes, "quota-backend-bytes", 0,
		"refuse writes when the database is larger than this, until the alarm is disarmed; 0 is no limit")
	fs.StringVar(&c.leaseMode, "lease-mode", string(logstructured.LeaseModeTTL),
		"ttl (for Kubernetes: keys expire TTL seconds after their last write) or etcd (for all other clients: "+
			"etcd's leases)")
	fs.DurationVar(&c.progressInterval, "watch-progress-notify-interval", logstructured.DefaultProgressInterval,
		"period of watch progress notifications")
	mark(fs, kineFlag, "datastore-poll-interval", "watch-progress-notify-interval")
}

// compactionFlags declare the schedule of compactions.
func (c *config) compactionFlags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.compactInterval, "compact-interval", 0,
		"compact the history this often; 0 leaves compaction to clients")
	fs.IntVar(&c.compactIntervalJitter, "compact-interval-jitter", 0,
		"vary --compact-interval by up to this many percent")
	fs.DurationVar(&c.compactTimeout, "compact-timeout", compactor.DefaultTimeout,
		"timeout of a compaction by --compact-interval or --auto-compaction-retention, which is retried later")
	fs.Int64Var(&c.compactMinRetain, "compact-min-retain", 1000, "number of revisions that --compact-interval keeps")
	fs.DurationVar(&c.compactRetention, "compact-retention", logstructured.DefaultCompactRetention,
		"keep rows in the database this long after a compaction, for replicas that lag")
	fs.StringVar(&c.autoCompactionMode, "auto-compaction-mode", "periodic",
		"unit of --auto-compaction-retention: periodic (a time) or revision (a number of revisions)")
	fs.StringVar(&c.autoCompactionRetention, "auto-compaction-retention", "0",
		"history to keep, as in etcd: 30m, 8 (hours) or, in mode revision, 10000; 0 leaves compaction to clients")
	mark(fs, kineFlag, "compact-interval", "compact-interval-jitter", "compact-timeout", "compact-min-retain")
}

// metricsFlags declare the metrics port.
func (c *config) metricsFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.metricsAddress, "metrics-bind-address", "0",
		"also serve /metrics on this address; 0 serves them on the client port only")
	fs.BoolVar(&c.metricsIgnoreTLS, "metrics-ignore-tls-config", false,
		"serve --metrics-bind-address in plain text even if the client port has TLS")
	fs.BoolVar(&c.metricsProfiling, "metrics-enable-profiling", false,
		"also serve /debug/pprof and /debug/vars on --metrics-bind-address")
	mark(fs, kineFlag, "metrics-bind-address", "metrics-ignore-tls-config", "metrics-enable-profiling")
}
