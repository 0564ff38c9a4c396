package member

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/features"
)

// Config describes a member.
type Config struct {
	config.ServerConfig
	// URL is where the member serves gRPC.
	URL string
	// ClientTLS is nil if clients connect in plain text.
	ClientTLS *transport.TLSInfo
	// These are 0 if the test leaves etcd's defaults.
	KeepAliveMinTime, KeepAliveInterval, KeepAliveTimeout time.Duration
}

// args returns the command line of etcd.
func (c Config) args() []string {
	advertised := strings.Join(c.ClientURLs.StringSlice(), ",")
	// Members trust each other here: etcd's program does not serve peers by TLS on Unix sockets.
	peer := plain(strings.Join(c.PeerURLs.StringSlice(), ","))
	state := "existing"
	if c.NewCluster {
		state = "new"
	}
	f := &flags{}
	f.add("name", c.Name)
	f.add("data-dir", c.DataDir)
	f.add("listen-client-urls", c.URL+","+advertised)
	f.add("advertise-client-urls", advertised)
	f.add("listen-peer-urls", peer)
	f.add("initial-advertise-peer-urls", peer)
	f.add("initial-cluster", plain(c.InitialPeerURLsMap.String()))
	f.add("initial-cluster-state", state)
	f.add("initial-cluster-token", c.InitialClusterToken)
	f.add("heartbeat-interval", c.TickMs)
	f.add("election-timeout", c.TickMs*uint(c.ElectionTicks))
	f.add("log-level", "warn")
	f.add("auth-token", c.AuthToken)
	f.add("bcrypt-cost", c.BcryptCost)
	f.add("quota-backend-bytes", c.QuotaBackendBytes)
	f.add("max-txn-ops", c.MaxTxnOps)
	f.add("max-request-bytes", c.MaxRequestBytes)
	f.add("snapshot-count", c.SnapshotCount)
	f.add("max-learners", c.MaxLearners)
	f.add("strict-reconfig-check", c.StrictReconfigCheck)
	f.addDuration("watch-progress-notify-interval",
		cmp.Or(c.WatchProgressNotifyInterval, v3rpc.GetProgressReportInterval()))
	f.addDuration("corrupt-check-time", c.CorruptCheckTime)
	f.addDuration("grpc-keepalive-min-time", c.KeepAliveMinTime)
	f.addDuration("grpc-keepalive-interval", c.KeepAliveInterval)
	f.addDuration("grpc-keepalive-timeout", c.KeepAliveTimeout)
	f.add("feature-gates", fmt.Sprintf("%s=%v,%s=%v",
		features.LeaseCheckpoint, c.ServerFeatureGate.Enabled(features.LeaseCheckpoint),
		features.LeaseCheckpointPersist, c.ServerFeatureGate.Enabled(features.LeaseCheckpointPersist)))
	if c.Metrics != "" {
		f.add("metrics", c.Metrics)
	}
	if c.ClientTLS != nil {
		f.addTLS(*c.ClientTLS)
	}
	return f.args
}

func plain(urls string) string { return strings.ReplaceAll(urls, "unixs://", "unix://") }

// flags is a command line.
type flags struct{ args []string }

func (f *flags) add(name string, value any) {
	f.args = append(f.args, fmt.Sprintf("--%s=%v", name, value))
}

// addDuration leaves out 0, for which the flag has its default.
func (f *flags) addDuration(name string, d time.Duration) {
	if d != 0 {
		f.add(name, d)
	}
}

func (f *flags) addTLS(info transport.TLSInfo) {
	f.add("cert-file", info.CertFile)
	f.add("key-file", info.KeyFile)
	if info.TrustedCAFile != "" {
		f.add("trusted-ca-file", info.TrustedCAFile)
	}
	if info.ClientCertFile != "" {
		f.add("client-cert-file", info.ClientCertFile)
		f.add("client-key-file", info.ClientKeyFile)
	}
	var suites []string
	for _, suite := range info.CipherSuites {
		suites = append(suites, tls.CipherSuiteName(suite))
	}
	if suites != nil {
		f.add("cipher-suites", strings.Join(suites, ","))
	}
	if info.ClientCertAuth {
		f.add("client-cert-auth", strconv.FormatBool(info.ClientCertAuth))
	}
}
