package server

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/server/auth"
	"github.com/stele-db/stele/server/transport"
)

// DefaultName is etcd's default name of a member.
const DefaultName = "default"

// Limits that etcd also has, with etcd's defaults unless noted.
const (
	// DefaultMaxRequestBytes bounds the size of one write request.
	DefaultMaxRequestBytes = 1536 * 1024
	// DefaultMaxTxnOps bounds the compares and the operations of a transaction.
	DefaultMaxTxnOps = 128
	// DefaultMaxConcurrentStreams bounds the streams of a connection. etcd has no limit by default. A Kubernetes API
	// server opens some hundreds, and a proxy for etcd's clients opens one for each of their watches and pending
	// requests.
	DefaultMaxConcurrentStreams = 10_000
	// DefaultKeepAliveMinTime is the shortest permitted time between two pings of a client.
	DefaultKeepAliveMinTime = 5 * time.Second
	// DefaultKeepAliveInterval is the period of the server's pings on an idle connection.
	DefaultKeepAliveInterval = 2 * time.Hour
	// DefaultKeepAliveTimeout is how long the server waits for the response to its ping.
	DefaultKeepAliveTimeout = 20 * time.Second

	// grpcOverheadBytes is how much larger than the request limit a message may be before grpc itself refuses it.
	grpcOverheadBytes = 512 * 1024
)

// Options configure a [Server].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Listeners are the listeners to serve on, made by [transport.Listen]; at least one. The server takes ownership of
	// them.
	Listeners []*transport.Listener

	// GRPCServer, if not nil, is served on the listeners instead of the server's own gRPC server. The server registers
	// the etcd services and, unless it is registered already, the health service. GRPCServer must not serve yet. The
	// caller sets its options: TLS, limits, keep-alive, metrics. The listeners must be plain, and do not serve HTTP.
	// The caller should set grpc.WaitForHandlers: otherwise a forced stop leaves handlers running that find the store
	// closed. GRPCServer is stopped when Run ends.
	GRPCServer *grpc.Server

	// Registerer receives the server's metrics; nil registers none.
	Registerer prometheus.Registerer
	// Gatherer provides the metrics that /metrics shows. If it is nil, /metrics responds with 404.
	Gatherer prometheus.Gatherer

	// CORSOrigins are the origins whose web pages may read the responses to HTTP requests; "*" allows all, empty allows
	// none.
	CORSOrigins []string

	// Probes are served on the listeners; nil creates them. A caller that provides them can serve them elsewhere, too.
	Probes *Probes

	// Name of the member in MemberList; empty is [DefaultName].
	Name string
	// AdvertiseClientURLs of the member in MemberList; empty are the URLs of the listeners.
	AdvertiseClientURLs []string
	// MemberID in headers; 0 derives one from the store's cluster ID, the machine's name, Name and AdvertiseClientURLs.
	MemberID uint64

	// AuthTokens issues and verifies the tokens that clients get for a password. nil means simple tokens, which are
	// valid for [auth.DefaultTokenTTL] after each use.
	AuthTokens auth.Tokens
	// BcryptCost is the bcrypt cost of hashing passwords; 0 is [auth.DefaultBcryptCost].
	BcryptCost int
	// ClientCertAuth makes the common name of a client's verified certificate the name of its user if the client sends
	// no token. The listener determines whether a certificate is required.
	ClientCertAuth bool

	// MaxRequestBytes bounds a write request; 0 is [DefaultMaxRequestBytes].
	MaxRequestBytes int
	// MaxTxnOps bounds a transaction; 0 is [DefaultMaxTxnOps].
	MaxTxnOps int

	// MaxConcurrentStreams bounds the open requests and streams of one connection; further ones wait in the client. 0
	// is [DefaultMaxConcurrentStreams].
	MaxConcurrentStreams uint32
	// ReservedDescriptors is the number of file descriptors that client connections must leave free; 0 is
	// [transport.DefaultReservedDescriptors]. Further clients wait until a connection is closed.
	ReservedDescriptors int

	// KeepAliveMinTime is the shortest time between two pings of a client. The server closes the connection of a client
	// that pings more often. 0 is [DefaultKeepAliveMinTime].
	KeepAliveMinTime time.Duration
	// KeepAliveInterval is the period of the server's own pings on an idle connection; 0 is [DefaultKeepAliveInterval].
	KeepAliveInterval time.Duration
	// KeepAliveTimeout is how long the server waits for the response to such a ping; 0 is [DefaultKeepAliveTimeout].
	KeepAliveTimeout time.Duration

	// HandshakeTimeout bounds the time until a new connection has finished its TLS handshake and sent enough to detect
	// whether it uses gRPC or HTTP; 0 is 10 s.
	HandshakeTimeout time.Duration
	// BodyTimeout bounds the time from the end of an HTTP request's header to the end of its body; 0 is 30 s.
	BodyTimeout time.Duration
	// MaxHandshakes bounds the connections whose protocol is not known yet; if there are more, the oldest one is
	// closed. 0 is 4096.
	MaxHandshakes int
	// ShutdownTimeout bounds the time for requests in flight when the server stops; 0 is 5 s.
	ShutdownTimeout time.Duration
}

// withDefaults returns o with defaults in place of zero values, or an error if an option is invalid.
func (o Options) withDefaults() (Options, error) {
	if o.Logger == nil {
		return o, errors.New("server: a logger is required")
	}
	if len(o.Listeners) == 0 {
		return o, errors.New("server: at least one listener is required")
	}
	if o.MaxRequestBytes < 0 || o.MaxRequestBytes > math.MaxInt32-grpcOverheadBytes {
		return o, errors.New("server: the maximum request size must be between 1 byte and 2 GiB")
	}
	if o.MaxTxnOps < 0 {
		return o, errors.New("server: the maximum number of transaction operations must be positive")
	}
	setDefault(&o.BcryptCost, auth.DefaultBcryptCost)
	if err := auth.CheckBcryptCost(o.BcryptCost); err != nil {
		return o, fmt.Errorf("server: %w", err)
	}
	if o.AuthTokens == nil {
		tokens, err := auth.NewTokens("simple", auth.DefaultTokenTTL)
		if err != nil {
			return o, err
		}
		o.AuthTokens = tokens
	}
	setDefault(&o.Name, DefaultName)
	setDefault(&o.MaxRequestBytes, DefaultMaxRequestBytes)
	setDefault(&o.MaxTxnOps, DefaultMaxTxnOps)
	setDefault(&o.MaxConcurrentStreams, DefaultMaxConcurrentStreams)
	setDefault(&o.ReservedDescriptors, transport.DefaultReservedDescriptors)
	setDefault(&o.KeepAliveMinTime, DefaultKeepAliveMinTime)
	setDefault(&o.KeepAliveInterval, DefaultKeepAliveInterval)
	setDefault(&o.KeepAliveTimeout, DefaultKeepAliveTimeout)
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.BodyTimeout, bodyTimeout)
	setDefault(&o.MaxHandshakes, 4096)
	setDefault(&o.ShutdownTimeout, 5*time.Second)
	if o.Probes == nil {
		o.Probes = NewProbes()
	}
	if len(o.AdvertiseClientURLs) == 0 {
		for _, l := range o.Listeners {
			o.AdvertiseClientURLs = append(o.AdvertiseClientURLs, l.URL())
		}
	}
	return o, nil
}

func (o *Options) maxConnections() int { return transport.MaxConnections(o.ReservedDescriptors) }

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
