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
)

// DefaultName is etcd's default name of a member.
const DefaultName = "default"

// Limits that etcd has too, with etcd's defaults.
const (
	// DefaultMaxRequestBytes bounds the size of one write request.
	DefaultMaxRequestBytes = 1536 * 1024
	// DefaultMaxTxnOps bounds the compares and the operations of a transaction.
	DefaultMaxTxnOps = 128
	// DefaultMaxConcurrentStreams bounds the streams of a connection. etcd has no limit by default. An API server has
	// some hundreds, and a proxy for etcd's clients one for each watch and waiting request of theirs.
	DefaultMaxConcurrentStreams = 10_000
	// DefaultKeepAliveMinTime is the shortest time between two pings of a client.
	DefaultKeepAliveMinTime = 5 * time.Second
	// DefaultKeepAliveInterval is the period of the server's pings on an idle connection.
	DefaultKeepAliveInterval = 2 * time.Hour
	// DefaultKeepAliveTimeout is how long a ping of the server may stay unanswered.
	DefaultKeepAliveTimeout = 20 * time.Second

	// A message may be larger than the request limit by this much before grpc itself refuses it.
	grpcOverheadBytes = 512 * 1024
)

// Options configure a [Server].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Listeners are what to serve on, made by [Listen]; at least one. The server takes them over.
	Listeners []*Listener

	// GRPCServer, if not nil, is served on the listeners instead of the server's own, with the services registered that
	// it does not have. It must not serve yet. Its options are the caller's: TLS, limits, keep-alive, metrics; and
	// there is no HTTP on the listeners, which must be plain. Have it wait for handlers: a forced stop otherwise leaves
	// requests behind that find the store closed. When Run ends it is stopped.
	GRPCServer *grpc.Server

	// Registerer receives the server's metrics; nil registers none.
	Registerer prometheus.Registerer
	// Gatherer is what /metrics shows; nil answers 404 there.
	Gatherer prometheus.Gatherer

	// CORSOrigins are the origins whose web pages may read the answers to HTTP requests; "*" is all, empty is none.
	CORSOrigins []string

	// Probes are served on the listeners; nil makes some. A caller that has them serves them elsewhere, too.
	Probes *Probes

	// Name of the member in MemberList; empty is [DefaultName].
	Name string
	// AdvertiseClientURLs of the member in MemberList; empty are the URLs of the listeners.
	AdvertiseClientURLs []string
	// MemberID in headers; 0 derives one from the store's cluster ID, the machine's name, Name and AdvertiseClientURLs.
	MemberID uint64

	// AuthTokens are what clients get for their password; nil is simple tokens, which last for [auth.DefaultTokenTTL]
	// after each use.
	AuthTokens auth.Tokens
	// BcryptCost is that of hashing passwords; 0 is [auth.DefaultBcryptCost].
	BcryptCost int
	// ClientCertAuth takes the common name of a client's verified certificate for the name of its user, if it sends no
	// token. Whether there must be a certificate is the listener's to say.
	ClientCertAuth bool

	// MaxRequestBytes bounds a write request; 0 is [DefaultMaxRequestBytes].
	MaxRequestBytes int
	// MaxTxnOps bounds a transaction; 0 is [DefaultMaxTxnOps].
	MaxTxnOps int

	// MaxConcurrentStreams bounds the requests and streams that are open on one connection; a client waits with more.
	// 0 is [DefaultMaxConcurrentStreams].
	MaxConcurrentStreams uint32
	// ReservedDescriptors are the file descriptors of the process that clients' connections must leave free; 0 is
	// [DefaultReservedDescriptors].
	// Further clients wait until a connection is closed.
	ReservedDescriptors int

	// KeepAliveMinTime is how often a client may ping before it is sent away; 0 is [DefaultKeepAliveMinTime].
	KeepAliveMinTime time.Duration
	// KeepAliveInterval is the period of the server's own pings on an idle connection; 0 is [DefaultKeepAliveInterval].
	KeepAliveInterval time.Duration
	// KeepAliveTimeout is how long such a ping may stay unanswered; 0 is [DefaultKeepAliveTimeout].
	KeepAliveTimeout time.Duration

	// HandshakeTimeout is how long a new connection may take to finish its TLS handshake and to show whether it
	// speaks gRPC or HTTP; 0 is 10 s.
	HandshakeTimeout time.Duration
	// BodyTimeout is how long the body of an HTTP request may take, from the end of its header; 0 is 30 s.
	BodyTimeout time.Duration
	// MaxHandshakes is how many connections may be in that state; beyond, the oldest of them is closed. 0 is 4096.
	MaxHandshakes int
	// ShutdownTimeout is how long requests in flight may take once the server stops; 0 is 5 s.
	ShutdownTimeout time.Duration
}

// withDefaults returns o with its zero values replaced, or tells what is wrong with it.
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
	setDefault(&o.ReservedDescriptors, DefaultReservedDescriptors)
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

func (o *Options) maxConnections() int {
	return maxConnections(descriptorLimit(), o.ReservedDescriptors)
}

func (o *Options) httpLimits() httpLimits {
	limits := newHTTPLimits(jsonFactor * int64(o.MaxRequestBytes+grpcOverheadBytes))
	limits.bodyTimeout = o.BodyTimeout
	return limits
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
