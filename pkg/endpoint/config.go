package endpoint

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/client"
	"github.com/stele-db/stele/pkg/tls"
)

// KineSocket is the default address of [Listen]: a unix socket in the working directory, accessible to its owner only.
// Programs that embed kine expect their datastore at this name.
const KineSocket = "unix://kine.sock"

// Config configures [Listen]. The zero value serves ./db/state.db on [KineSocket].
//
// It lacks kine's fields for the t4 driver, PeerConfig and S3Config: Stele has no such database.
type Config struct {
	// GRPCServer, if not nil, serves etcd's services on Listener, instead of a new server. It must not serve yet;
	// afterwards the caller may also serve it on other listeners. The caller configures TLS, message limits and
	// keep-alive. The server stops when the context ends. Create it with grpc.WaitForHandlers(true), so that a forced
	// stop leaves no request behind.
	GRPCServer *grpc.Server
	// WaitGroup, if not nil, is incremented before Listen returns, and is done when everything has stopped after the
	// end of the context.
	WaitGroup *sync.WaitGroup
	// Listener is the address to serve on: unix://path (created with mode 0600), tcp://host:port or host:port, http://
	// or https://host:port. Empty is [KineSocket]. A certificate in ServerTLSConfig enables TLS whatever the scheme is.
	// Without one, Listen serves plain text even on an address that other machines can reach: the caller has named it.
	Listener string
	// Endpoint is the database, as for `stele serve --endpoint`: sqlite://PATH, postgres://..., mysql://...; empty, or
	// sqlite:// without a path, is ./db/state.db. With http://, https://, unix:// or unixs:// it is the address of a
	// running datastore, or several separated by commas; then Listen starts nothing.
	Endpoint string
	// ConnectionPoolConfig bounds the connections to a database server. Zero and negative numbers leave it to the
	// driver.
	ConnectionPoolConfig ConnectionPoolConfig
	// ServerTLSConfig has the certificate of the server. TrustedCAFile makes client certificates mandatory. Listen
	// returns CAFile as the authority for clients.
	ServerTLSConfig tls.Config
	// BackendTLSConfig is for the connections to the database server or to the running datastore.
	BackendTLSConfig tls.Config
	// MetricsRegisterer, if not nil, receives the metrics until everything has stopped. If two datastores of a process
	// use the same one, it shows the metrics of the first, unless each has a label (prometheus.WrapRegistererWith).
	MetricsRegisterer prometheus.Registerer
	// NotifyInterval is the period of watch progress notifications; 0 is 5 s, as in kine.
	NotifyInterval time.Duration
	// EmulatedETCDVersion is ignored: Stele reports the version of etcd whose API it serves, which is not lower than
	// programs require.
	EmulatedETCDVersion string
	// CompactInterval compacts the history this often, up to CompactIntervalJitter percent earlier or later, and leaves
	// CompactMinRetain revisions; 0 leaves compaction to the clients, as Kubernetes expects.
	CompactInterval       time.Duration
	CompactIntervalJitter int
	// CompactTimeout ends one of these compactions; 0 is 5 s.
	CompactTimeout   time.Duration
	CompactMinRetain int64
	// CompactBatchSize and PollBatchSize are accepted and ignored: batches are bounded by bytes, and sized by the
	// driver.
	CompactBatchSize int64
	PollBatchSize    int64
	// PollInterval is how often to poll for entries of other replicas; 0 is 10 ms.
	PollInterval time.Duration
	// LogFormat is accepted and ignored: the format is the logger's.
	LogFormat string

	// LeaseMode is an addition to kine's fields. Empty is ttl, the mode for Kubernetes.
	LeaseMode logstructured.LeaseMode
	// Logger is an addition to kine's fields. nil is the standard logger of logrus.
	Logger *logrus.Entry
}

// ConnectionPoolConfig bounds the connections to a database server: MaxIdle, MaxOpen, MaxLifetime, MaxIdleTime.
type ConnectionPoolConfig = connect.Pool

// ETCDConfig describes the connection to the datastore of [Listen], for package client or any etcd client.
type ETCDConfig = client.Config
