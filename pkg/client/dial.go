package client

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // for healthCheckConfig
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

const (
	// connectTimeout is how long a write waits for a connection before it fails without having been sent.
	connectTimeout = 5 * time.Second

	// Keep-alive detects a dead connection within a minute, with the values of kube-apiserver.
	keepAliveTime, keepAliveTimeout = 30 * time.Second, 10 * time.Second
)

// serviceConfig spreads requests over the endpoints whose health service answers SERVING, so that a server that is
// still opening its database gets none. grpc retries reads. It resends a write only if no server has received it.
const serviceConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"healthCheckConfig": {"serviceName": ""},
	"methodConfig": [{
		"name": [{"service": "etcdserverpb.KV", "method": "Range"}],
		"retryPolicy": {
			"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 3,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}]
}`

func dial(config Config) (*grpc.ClientConn, error) {
	if len(config.Endpoints) == 0 {
		return nil, errors.New("there is no endpoint to connect to")
	}
	tlsConfig, err := config.TLSConfig.ClientConfig()
	if err != nil {
		return nil, err
	}
	var endpoints []resolver.Endpoint
	for _, e := range config.Endpoints {
		addr, name := address(e)
		if addr == "" {
			return nil, errors.New("one of the endpoints is empty")
		}
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: name}}})
	}
	local := !slices.ContainsFunc(endpoints,
		func(e resolver.Endpoint) bool { return !strings.HasPrefix(e.Addresses[0].Addr, "unix:") })

	r := manual.NewBuilderWithScheme("stele")
	r.InitialState(resolver.State{Endpoints: endpoints})
	options := []grpc.DialOption{
		grpc.WithResolvers(r),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithTransportCredentials(transport(config.Endpoints[0], tlsConfig)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepAliveTime, Timeout: keepAliveTimeout}),
		// The server decides which messages are too large.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	}
	if local {
		options = append(options, grpc.WithNoProxy()) // a proxy cannot reach a socket of this machine
	}
	return grpc.NewClient("stele:///"+endpoints[0].Addresses[0].ServerName, options...)
}

// address returns the address that grpc dials for an endpoint, and the name that the certificate of the server must
// have. As in etcd, that is the file name of a socket.
func address(endpoint string) (addr, serverName string) {
	for _, scheme := range []string{"unix", "unixs"} {
		if rest, ok := strings.CutPrefix(endpoint, scheme+":"); ok {
			rest = strings.TrimPrefix(rest, "//")
			if rest == "" {
				return "", ""
			}
			return "unix:" + rest, path.Base(rest)
		}
	}
	if !strings.Contains(endpoint, "://") {
		return endpoint, endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", ""
	}
	return u.Host, u.Host
}

// transport returns the credentials for TLS or plain text, depending on endpoint. config may be nil.
func transport(endpoint string, config *cryptotls.Config) credentials.TransportCredentials {
	scheme, _, found := strings.Cut(endpoint, ":")
	switch {
	case found && scheme == "http", config == nil && scheme != "https" && scheme != "unixs":
		return insecure.NewCredentials()
	default:
		return credentials.NewTLS(config)
	}
}

// connected waits for a connection, so that a write does not fail while a server starts or is replaced. If there is no
// connection in time, the write itself returns the reason.
func (c *client) connected(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		state := c.conn.GetState()
		switch state {
		case connectivity.Ready, connectivity.Shutdown:
			return nil
		case connectivity.Idle:
			c.conn.Connect()
		}
		if !c.conn.WaitForStateChange(waiting, state) {
			return ctx.Err()
		}
	}
}

// ended reports whether err means that a context has ended.
func ended(err error) bool {
	code := status.Code(err)
	return code == codes.Canceled || code == codes.DeadlineExceeded
}
