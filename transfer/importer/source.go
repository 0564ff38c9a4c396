package importer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/transfer/snapshot"
)

// Server is the address of a server of etcd's API, with credentials.
type Server struct {
	// URL is http://host:port, https://host:port, unix://path or host:port.
	URL string
	// TLS is used for https, and for an address without scheme if it is not nil. nil trusts the system's authorities.
	TLS *tls.Config
	// User and Password of a user with the role root, if the server requires authentication.
	User, Password string
}

// address returns the address that grpc dials, and whether to use TLS.
func (s *Server) address() (target string, secure bool, err error) {
	scheme, rest, found := strings.Cut(s.URL, "://")
	if !found {
		scheme, rest = "", s.URL
	}
	switch scheme {
	case "unix", "unixs":
		target = "unix:" + rest
	case "", "http", "https":
		u, err := url.Parse("//" + rest)
		if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" ||
			strings.Contains(rest, ",") {
			return "", false, errors.New("it is not the address of one server; write it like http://etcd.example:2379")
		}
		target = "dns:///" + u.Host
	default:
		return "", false, errors.New("its scheme is none of http, https, unix and unixs")
	}
	return target, scheme == "https" || scheme == "unixs" || scheme == "" && s.TLS != nil, nil
}

const (
	// patience is how long a source may be unreachable.
	patience = time.Minute
	// keepAliveTime and keepAliveTimeout detect a dead connection.
	keepAliveTime, keepAliveTimeout = 30 * time.Second, 10 * time.Second
)

// etcd is a connection to a source.
type etcd struct {
	server Server
	conn   *grpc.ClientConn
	kv     pb.KVClient
	watch  pb.WatchClient
	lease  pb.LeaseClient
	maint  pb.MaintenanceClient
	auth   pb.AuthClient

	logger *logrus.Entry
	// away is set while the source is unreachable, which is logged once.
	away atomic.Bool

	mu    sync.Mutex
	token string
}

func connect(ctx context.Context, server Server, logger *logrus.Entry) (*etcd, error) {
	target, secure, err := server.address()
	if err != nil {
		return nil, fmt.Errorf("the source's address: %w", err)
	}
	creds := insecure.NewCredentials()
	if secure {
		config := server.TLS
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		creds = credentials.NewTLS(config)
	}
	e := &etcd{server: server, logger: logger}
	e.conn, err = grpc.NewClient(target,
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepAliveTime, Timeout: keepAliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		grpc.WithUnaryInterceptor(e.unary),
		grpc.WithStreamInterceptor(e.stream),
	)
	if err != nil {
		return nil, fmt.Errorf("the source's address: %w", err)
	}
	e.kv, e.watch, e.lease = pb.NewKVClient(e.conn), pb.NewWatchClient(e.conn), pb.NewLeaseClient(e.conn)
	e.maint, e.auth = pb.NewMaintenanceClient(e.conn), pb.NewAuthClient(e.conn)
	if err := e.authenticate(ctx); err != nil {
		return nil, errors.Join(err, e.conn.Close())
	}
	return e, nil
}

// authenticate requests a token, if a user is set.
func (e *etcd) authenticate(ctx context.Context) error {
	if e.server.User == "" {
		return nil
	}
	return e.retry(ctx, func(ctx context.Context) error {
		resp, err := e.auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: e.server.User, Password: e.server.Password})
		if errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("authenticate with the source: %w", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.token = resp.Token
		return nil
	})
}

// authorized adds the token to the requests of ctx.
func (e *etcd) authorized(ctx context.Context) context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, e.token)
}

// unary repeats a request with a new token if the token has expired.
func (e *etcd) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker,
	opts ...grpc.CallOption) error {
	if method == pb.Auth_Authenticate_FullMethodName {
		return call(ctx, method, req, reply, conn, opts...)
	}
	err := call(e.authorized(ctx), method, req, reply, conn, opts...)
	if status.Code(err) != codes.Unauthenticated || e.server.User == "" {
		return err
	}
	if err := e.authenticate(ctx); err != nil {
		return err
	}
	return call(e.authorized(ctx), method, req, reply, conn, opts...)
}

// stream requests a new token for each stream: there are few of them.
func (e *etcd) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := e.authenticate(ctx); err != nil {
		return nil, err
	}
	return open(e.authorized(ctx), desc, conn, method, opts...)
}

// transient reports whether a retry may succeed.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Aborted, codes.ResourceExhausted, codes.DeadlineExceeded:
		return true
	default:
		// A member lags behind the member that answered an earlier request.
		return errors.Is(rpctypes.Error(err), rpctypes.ErrFutureRev)
	}
}

// retry repeats a request while the source is unreachable, for patience at most.
func (e *etcd) retry(ctx context.Context, ask func(context.Context) error) error {
	began := time.Now()
	for {
		err := ask(ctx)
		if err == nil {
			e.away.Store(false)
		}
		if err == nil || ctx.Err() != nil || !transient(err) || time.Since(began) > patience {
			return err
		}
		if !e.away.Swap(true) {
			e.logger.WithError(err).Warnf("cannot reach the source; trying again for %v", patience)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// look reads the properties of the source.
func (e *etcd) look(ctx context.Context) (*Result, error) {
	r := &Result{LeaseMode: logstructured.LeaseModeEtcd}
	err := e.retry(ctx, func(ctx context.Context) error {
		all, err := e.kv.Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true})
		if err != nil {
			return err
		}
		r.Source = fmt.Sprintf("the etcd cluster %x", all.Header.ClusterId)
		r.Revision, r.Keys = logstructured.Revision(all.Header.Revision), int(all.Count)
		leases, err := e.lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
		if status.Code(err) == codes.FailedPrecondition { // a Stele in lease mode ttl
			r.LeaseMode, err = logstructured.LeaseModeTTL, nil
		}
		r.Leases = len(leases.GetLeases())
		if err != nil {
			return err
		}
		r.CompactRevision, err = e.compactRevision(ctx)
		return err
	})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrUserEmpty) {
		return nil, ErrNeedsUser
	}
	if err != nil {
		return nil, fmt.Errorf("ask the source: %w", err)
	}
	return r, nil
}

func (e *etcd) revision(ctx context.Context) (revision int64, err error) {
	err = e.retry(ctx, func(ctx context.Context) error {
		resp, err := e.kv.Range(ctx, &pb.RangeRequest{Key: []byte{0}, Limit: 1, KeysOnly: true})
		revision = resp.GetHeader().GetRevision()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ask the source for its revision: %w", err)
	}
	return revision, nil
}

// keys counts the keys at a revision.
func (e *etcd) keys(ctx context.Context, revision int64) (keys int, err error) {
	err = e.retry(ctx, func(ctx context.Context) error {
		resp, err := e.kv.Range(ctx,
			&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true, Revision: revision})
		keys = int(resp.GetCount())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ask the source for the number of its keys: %w", err)
	}
	return keys, nil
}

// compactRevision returns the compact revision, which the source reports to a watcher of revision 1. It returns -1 if
// there is none.
func (e *etcd) compactRevision(ctx context.Context) (logstructured.Revision, error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := e.watch.Watch(ctx)
	if err != nil {
		return 0, err
	}
	create := &pb.WatchCreateRequest{Key: []byte{0}, StartRevision: 1, Filters: []pb.WatchCreateRequest_FilterType{
		pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE,
	}}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := stream.Send(request); err != nil {
		return 0, err
	}
	for {
		resp, err := stream.Recv()
		switch {
		case err != nil:
			return 0, err
		case resp.CompactRevision > 0:
			return logstructured.Revision(resp.CompactRevision), nil
		case resp.Canceled:
			return 0, fmt.Errorf("the source does not let watch: %s", resp.CancelReason)
		case resp.Created:
			// etcd ignores a request for progress until the watcher has caught up.
			asking.Go(func() {
				for requestProgress(stream) == nil && pause(ctx, 100*time.Millisecond) == nil {
					continue
				}
			})
		default:
			return -1, nil
		}
	}
}

// download writes a snapshot to a file, and opens it. The file is removed when it is closed, or earlier.
func (e *etcd) download(ctx context.Context, dir string, opts *Options) (f *snapshot.File, err error) {
	file, err := os.CreateTemp(dir, "stele-import-*.db")
	if err != nil {
		return nil, fmt.Errorf("make room for a snapshot: %w", err)
	}
	// The file is open, so that no file remains however this process ends.
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	err = e.receive(ctx, file, opts)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("get a snapshot of the source: %w", err)
	}
	return snapshot.Open(file.Name(), snapshot.OpenOptions{})
}

func (e *etcd) receive(ctx context.Context, file io.Writer, opts *Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := e.maint.Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		return err
	}
	var done int64
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := file.Write(resp.Blob); err != nil {
			return err
		}
		done += int64(len(resp.Blob))
		opts.progress(StageDownload, done, done+int64(resp.RemainingBytes))
	}
}
