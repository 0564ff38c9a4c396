package main

import (
	"slices"
	"strings"
)

// Hints that several flags of etcd share.
const (
	noPeers = "Stele has no equivalent: replicas meet in the database and need no addresses or certificates of " +
		"each other"
	noRaft   = "Stele has no equivalent: the database replicates and stores the log"
	noTuning = "Stele has no equivalent and needs no tuning here"
)

// etcdHints has the replacement for each flag of etcd 3.7 that Stele does not have. It leaves out --cert-file and
// --key-file: kine has flags of these names, for the database.
var etcdHints = map[string]string{
	"listen-client-urls":        "use --listen-address",
	"listen-client-http-urls":   "use --listen-address, which serves gRPC and HTTP on one port",
	"listen-metrics-urls":       "use --metrics-bind-address",
	"data-dir":                  "use --endpoint=sqlite://<file>",
	"client-cert-file":          "use --server-cert-file for the client port",
	"client-key-file":           "use --server-key-file for the client port",
	"auto-tls":                  "use --server-cert-file and --server-key-file with a certificate of your own",
	"self-signed-cert-validity": "use --server-cert-file and --server-key-file with a certificate of your own",
	"enable-pprof":              "use --metrics-enable-profiling with --metrics-bind-address",
	"log-outputs":               "Stele logs to standard error",
	"logger":                    "use --log-format=json for structured logs",
	"unsafe-no-fsync":           "Stele always syncs what it acknowledges",
	"force-new-cluster":         "start Stele on the database, or on a restored copy of it after `stele recover`",
	"enable-grpc-gateway":       "the JSON gateway is always served",
	"max-learners":              noPeers,
	"strict-reconfig-check":     noPeers,
	"max-wals":                  noRaft,
	"wal-dir":                   noRaft,
	"pre-vote":                  noRaft,
	"election-timeout":          noRaft,
	"heartbeat-interval":        noRaft,
	"max-snapshots":             noRaft,
	"memory-mlock":              noTuning,
	"feature-gates":             noTuning,
	"metrics":                   noTuning,
	"downgrade-check-time":      noTuning,
	"compact-hash-check-time":   "run `stele check` on a schedule instead",
	"corrupt-check-time":        "run `stele check` on a schedule instead",
	"host-whitelist": "restrict the address with --listen-address, or demand certificates with " +
		"--client-cert-auth",
}

// etcdHintPrefixes are etcdHints for families of flags.
var etcdHintPrefixes = []struct{ prefix, hint string }{
	{"listen-peer-", noPeers},
	{"peer-", noPeers},
	{"initial-", noPeers},
	{"discovery", noPeers},
	{"raft-", noRaft},
	{"snapshot-", noRaft},
	{"backend-", noRaft},
	{"bootstrap-", noRaft},
	{"compaction-", noTuning},
	{"v2-", noTuning},
	{"log-rotation-", "Stele logs to standard error; the service manager rotates it"},
	{"enable-log-rotation", "Stele logs to standard error; the service manager rotates it"},
	{"socket-", noTuning},
	{"experimental-", "etcd 3.7 has no experimental flags; leave it out, or use the flag without the prefix"},
}

// etcdUnsupported are flags of etcd without an equivalent.
var etcdUnsupported = []string{
	"client-cert-allowed-hostname",
	"warning-apply-duration", "warning-unary-request-duration", "enable-distributed-tracing",
	"distributed-tracing-address", "distributed-tracing-service-name", "distributed-tracing-instance-id",
	"distributed-tracing-sampling-rate",
}

// etcdHint returns the replacement for a flag of etcd, or an empty string if etcd has no such flag.
func etcdHint(name string) string {
	if hint, ok := etcdHints[name]; ok {
		return hint
	}
	for _, p := range etcdHintPrefixes {
		if strings.HasPrefix(name, p.prefix) {
			return p.hint
		}
	}
	if slices.Contains(etcdUnsupported, name) {
		return "Stele does not have it; leave it out"
	}
	return ""
}
