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

// KineSocket is where [Listen] listens unless Config says otherwise: a unix socket in the working directory, for its
// owner only. The name is kine's, because programs that look for their datastore know it.
const KineSocket = "unix://kine.sock"

// Config says what [Listen] serves, and where. The zero value serves ./db/state.db on [KineSocket].
//
// kine's fields for its t4 driver, PeerConfig and S3Config, are not there: Stele has no such database.
type Config struct {
	// GRPCServer, if not nil, gets etcd's services and is served on Listener instead of a server of Stele's own. It
	// must not serve yet; afterwards the caller may serve it on listeners of its own, too. TLS, message limits and
	// keep-alive are its own, and it is stopped when the context ends. Make it with grpc.WaitForHandlers(true), so that
	// a forced stop leaves no request behind.
	GRPCServer *grpc.Server
	// WaitGroup, if not nil, is added to before Listen returns, and is done when everything has stopped after the
	// context's end.
	WaitGroup *sync.WaitGroup
	// Listener is the address to serve on: unix://path (created with mode 0600), tcp://host:port or host:port, http://
	// or https://host:port. Empty is [KineSocket]. Where ServerTLSConfig has a certificate there is TLS, whatever the
	// scheme says. Without one, an address that other machines can reach is served in plain text: it is the caller who
	// names it.
	Listener string
	// Endpoint is the database, as for `stele serve --endpoint`: sqlite://PATH, postgres://..., mysql://...; empty, or
	// sqlite:// without a path, is ./db/state.db. With http://, https://, unix:// or unixs:// it is the address of a
	// datastore that runs already, or several with commas between them; then nothing is started.
	Endpoint string
	// ConnectionPoolConfig bounds the connections to a database server. Zero and negative numbers leave it to the
	// driver.
	ConnectionPoolConfig ConnectionPoolConfig
	// ServerTLSConfig has the certificate that is served with. TrustedCAFile demands client certificates. CAFile is
	// returned as the authority that clients need.
	ServerTLSConfig tls.Config
	// BackendTLSConfig is for the connections to the database server, or to the datastore that runs already.
	BackendTLSConfig tls.Config
	// MetricsRegisterer, if not nil, gets the metrics until everything has stopped. Two datastores of a process that
	// register with the same one show those of the first, unless each is given one with a label of its own
	// (prometheus.WrapRegistererWith).
	MetricsRegisterer prometheus.Registerer
	// NotifyInterval is the period of watch progress notifications; 0 is 5 s, as in kine.
	NotifyInterval time.Duration
	// EmulatedETCDVersion is accepted and ignored: Stele reports the version of etcd whose API it serves, which is not
	// less than what programs ask for.
	EmulatedETCDVersion string
	// CompactInterval compacts the history this often, up to CompactIntervalJitter percent earlier or later, and leaves
	// CompactMinRetain revisions; 0 leaves compaction to the clients, as Kubernetes wants it.
	CompactInterval       time.Duration
	CompactIntervalJitter int
	// CompactTimeout ends one of these compactions; 0 is 5 s.
	CompactTimeout   time.Duration
	CompactMinRetain int64
	// CompactBatchSize and PollBatchSize are accepted and ignored: batches are bounded by bytes, and sized by the
	// driver.
	CompactBatchSize int64
	PollBatchSize    int64
	// PollInterval is how often to look for what other replicas wrote; 0 is 10 ms.
	PollInterval time.Duration
	// LogFormat is accepted and ignored: the format is the logger's.
	LogFormat string

	// LeaseMode is Stele's addition; empty is ttl, which is what Kubernetes needs.
	LeaseMode logstructured.LeaseMode
	// Logger is Stele's addition; nil is logrus's standard logger.
	Logger *logrus.Entry
}

// ConnectionPoolConfig bounds the connections to a database server: MaxIdle, MaxOpen, MaxLifetime, MaxIdleTime.
type ConnectionPoolConfig = connect.Pool

// ETCDConfig says how to connect to what [Listen] serves, with package client or any client of etcd's.
type ETCDConfig = client.Config
