package main

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/auth"
)

// config is what the flags say. Defaults stand in flags and, with the reasons, in docs/configuration.md.
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

	fs.StringVar(&c.listenAddress, "listen-address", "127.0.0.1:2379", "address to serve clients on: host:port or unix://path")
	fs.BoolVar(&c.insecureListen, "insecure-listen", false, "serve plain text even on an address that other machines can reach")
	fs.StringSliceVar(&c.advertiseClientURLs, "advertise-client-urls", nil, "URLs that the member list names for clients (default: the address served on)")
	fs.StringSliceVar(&c.cors, "cors", nil, "origins whose web pages may use the JSON gateway, such as https://page.example; * is all (default: none)")
	fs.StringVar(&c.name, "name", "default", "name of this replica in the member list")
	fs.StringVar(&c.serverCertFile, "server-cert-file", "", "certificate for the client port; turns TLS on")
	fs.StringVar(&c.serverKeyFile, "server-key-file", "", "private key of --server-cert-file")
	fs.StringVar(&c.trustedCAFile, "trusted-ca-file", "", "CA that client certificates must be signed by; turns client certificates on")
	fs.BoolVar(&c.clientCertAuth, "client-cert-auth", false, "demand client certificates; with users, the common name of one is the name of its user")
	c.tls.flags(fs)
	fs.StringVar(&c.authToken, "auth-token", "simple", "what clients get for a password: simple, or jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=5m")
	fs.UintVar(&c.authTokenTTL, "auth-token-ttl", 300, "seconds that a simple token lasts without being used")
	fs.IntVar(&c.bcryptCost, "bcrypt-cost", auth.DefaultBcryptCost, "cost of hashing passwords, from 4 to 31: each one more takes twice as long")

	c.database.flags(fs)
	fs.BoolVar(&c.database.besideKine, "beside-kine", false, "begin an empty log although the database holds a table kine, which is not to be imported")
	fs.DurationVar(&c.pollInterval, "datastore-poll-interval", 10*time.Millisecond, "how often to look for what other replicas wrote")
	sizeVar(fs, &c.valueCacheBytes, "value-cache-bytes", 256<<20, "memory for cached values; 0 caches none")
	sizeVar(fs, &c.maxIndexBytes, "max-index-bytes", 0, "refuse writes once the index of keys and revisions takes up this "+
		"much memory; 0 is half of what is available, less is no limit")
	fs.DurationVar(&c.requestTimeout, "request-timeout", 7*time.Second, "end requests whose client set no earlier deadline")
	sizeVar(fs, &c.maxRequestBytes, "max-request-bytes", 1536<<10, "largest request accepted")
	fs.IntVar(&c.maxTxnOps, "max-txn-ops", 128, "most operations in a transaction")
	fs.Uint32Var(&c.maxStreams, "max-concurrent-streams", server.DefaultMaxConcurrentStreams, "most requests and streams that a client may have open on one connection; 0 is no limit")
	fs.DurationVar(&c.keepAliveMinTime, "grpc-keepalive-min-time", 5*time.Second, "close connections whose client pings more often than this; 0 is gRPC's 5m")
	fs.DurationVar(&c.keepAliveInterval, "grpc-keepalive-interval", 2*time.Hour, "ping clients on connections that are silent for this long; 0 is gRPC's 2h")
	fs.DurationVar(&c.keepAliveTimeout, "grpc-keepalive-timeout", 20*time.Second, "close connections whose client does not answer such a ping within this time; 0 is gRPC's 20s")
	sizeVar(fs, &c.quotaBytes, "quota-backend-bytes", 0, "refuse writes once the database takes up this much, until the alarm is disarmed; 0 is no limit")
	fs.StringVar(&c.leaseMode, "lease-mode", "ttl", "ttl (for Kubernetes: keys expire TTL seconds after their last write) or etcd (for all other programs: etcd's leases)")
	fs.DurationVar(&c.progressInterval, "watch-progress-notify-interval", 5*time.Second, "period of watch progress notifications")

	fs.DurationVar(&c.compactInterval, "compact-interval", 0, "compact the history this often; 0 leaves it to clients")
	fs.IntVar(&c.compactIntervalJitter, "compact-interval-jitter", 0, "vary --compact-interval by up to this many percent")
	fs.DurationVar(&c.compactTimeout, "compact-timeout", 5*time.Second, "end a compaction of --compact-interval or --auto-compaction-retention after this long, and try again later")
	fs.Int64Var(&c.compactMinRetain, "compact-min-retain", 1000, "revisions that --compact-interval leaves")
	fs.DurationVar(&c.compactRetention, "compact-retention", 5*time.Minute, "keep rows in the database this long after a compaction, for replicas that lag")
	fs.StringVar(&c.autoCompactionMode, "auto-compaction-mode", "periodic", "what --auto-compaction-retention is: periodic (a time) or revision (a number)")
	fs.StringVar(&c.autoCompactionRetention, "auto-compaction-retention", "0", "history to keep, as in etcd: 30m, 8 (hours) or, in mode revision, 10000; 0 leaves it to clients")

	fs.StringVar(&c.metricsAddress, "metrics-bind-address", "0", "also serve /metrics on this address; 0 leaves them on the client port only")
	fs.BoolVar(&c.metricsIgnoreTLS, "metrics-ignore-tls-config", false, "serve --metrics-bind-address in plain text even when the client port has TLS")
	fs.BoolVar(&c.metricsProfiling, "metrics-enable-profiling", false, "also serve /debug/pprof and /debug/vars on --metrics-bind-address")

	c.log.flags(fs)

	for _, r := range retired {
		if r.boolean {
			fs.Bool(r.name, false, r.why)
		} else {
			fs.String(r.name, "", r.why)
		}
		// It exists, so marking it cannot fail.
		_ = fs.MarkHidden(r.name)
	}
	return fs
}

// isKine tells whether kine has the flag too, so that kine's environment variable sets it.
func isKine(name string) bool {
	for _, r := range retired {
		if r.name == name {
			return !r.etcd
		}
	}
	if slices.Contains(serverOnly, name) {
		return name != "datastore-password-file"
	}
	switch name {
	case "listen-address", "endpoint", "server-cert-file", "server-key-file", "trusted-ca-file",
		"datastore-poll-interval", "watch-progress-notify-interval",
		"compact-interval", "compact-interval-jitter", "compact-timeout", "compact-min-retain",
		"metrics-bind-address", "metrics-ignore-tls-config", "metrics-enable-profiling", "log-format", "debug":
		return true
	}
	return false
}
