package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-semver/semver"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The environment of a test.
const (
	// Binary is the path of a program with etcd's command line.
	Binary = "ETCDSUITE_BINARY"
	// Target is etcd, sqlite, or the DSN of a database.
	Target = "ETCDSUITE_TARGET"
	// Log is the name of the file in the directory for temporary files that servers log to.
	Log = "servers.log"
)

const (
	readyTimeout = 20 * time.Second
	callTimeout  = 2 * time.Second
	stopTimeout  = 3 * time.Second
)

// Server is a process that serves as a member. It has the methods that the framework uses.
type Server struct {
	// EtcdServer is nil: a test that reaches into the server of its own process panics.
	*etcdserver.EtcdServer
	Cfg Config

	identity
	cmd      *exec.Cmd
	ready    chan struct{}
	stopped  chan struct{}
	isolated bool
}

// identity is the server's answer about itself.
type identity struct {
	id      types.ID
	version *semver.Version
}

// identities are the identities of all members, by data directory: a server that has users does not answer Status.
var identities sync.Map

// isolated are the members that do not know of each other, in the order in which they were launched.
var isolated struct {
	sync.Mutex
	servers []*Server
}

// Launch starts a process on the addresses of listeners, which it closes, and waits until it serves.
func Launch(c Config, listeners ...io.Closer) (*Server, error) {
	for _, l := range listeners {
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	s := &Server{Cfg: c, ready: make(chan struct{}), stopped: make(chan struct{})}
	// Several processes on one SQLite file list only themselves.
	s.isolated = os.Getenv(Target) == "sqlite"
	if err := s.start(); err != nil {
		return nil, err
	}
	if err := s.await(); err != nil {
		s.HardStop()
		return nil, err
	}
	close(s.ready)
	if s.isolated {
		isolated.Lock()
		isolated.servers = append(isolated.servers, s)
		isolated.Unlock()
	}
	return s, nil
}

func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(os.TempDir(), Log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.cmd = exec.Command(os.Getenv(Binary), s.Cfg.args()...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := errors.Join(s.cmd.Start(), log.Close()); err != nil {
		return err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.stopped)
	}()
	return nil
}

// await waits until the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	for {
		answer, err := s.status(ctx)
		if err == nil && answer.Leader != 0 {
			s.identity = identity{types.ID(answer.Header.MemberId), semver.New(answer.Version)}
			identities.Store(s.Cfg.DataDir, s.identity)
			return nil
		}
		if known, ok := identities.Load(s.Cfg.DataDir); ok && denied(err) {
			s.identity = known.(identity)
			return nil
		}
		select {
		case <-s.stopped:
			return fmt.Errorf("the server of member %s ended: %v", s.Cfg.Name, s.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("member %s does not serve: %w", s.Cfg.Name, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// denied reports whether a server that has users refused a request without a token.
func denied(err error) bool {
	return errors.Is(err, rpctypes.ErrUserEmpty) || status.Code(err) == codes.PermissionDenied
}

// call connects to the server for one call.
func (s *Server) call(ctx context.Context, f func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config := clientv3.Config{Context: ctx, Endpoints: []string{s.Cfg.URL}, Logger: s.Cfg.Logger}
	if s.Cfg.ClientTLS != nil {
		tls, err := s.Cfg.ClientTLS.ClientConfig()
		if err != nil {
			return err
		}
		config.TLS = tls
	}
	client, err := clientv3.New(config)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, client), client.Close())
}

func (s *Server) status(ctx context.Context) (resp *clientv3.StatusResponse, err error) {
	err = s.call(ctx, func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = c.Status(ctx, s.Cfg.URL)
		return err
	})
	return resp, err
}

// MemberID returns the ID that the server has in response headers.
func (s *Server) MemberID() types.ID { return s.id }

// ClusterVersion returns the version that the server reports.
func (s *Server) ClusterVersion() *semver.Version { return s.version }

// Lead returns the ID of the leader, or 0 if the server does not answer.
func (s *Server) Lead() uint64 {
	if s.isolated {
		return firstRunning()
	}
	resp, err := s.status(context.Background())
	if err != nil {
		return 0
	}
	return resp.Leader
}

// firstRunning returns the ID of the isolated member that has been running for longest.
func firstRunning() uint64 {
	isolated.Lock()
	defer isolated.Unlock()
	for _, s := range isolated.servers {
		if s.running() {
			return uint64(s.id)
		}
	}
	return 0
}

// Leader is [Server.Lead] with another type.
func (s *Server) Leader() types.ID { return types.ID(s.Lead()) }

// AppliedIndex returns the index that the server reports.
func (s *Server) AppliedIndex() uint64 {
	resp, err := s.status(context.Background())
	if err != nil {
		return 0
	}
	return resp.RaftAppliedIndex
}

// Alarm sends an alarm request.
func (s *Server) Alarm(ctx context.Context, r *pb.AlarmRequest) (resp *pb.AlarmResponse, err error) {
	err = s.call(ctx, func(ctx context.Context, c *clientv3.Client) (err error) {
		resp, err = pb.NewMaintenanceClient(c.ActiveConnection()).Alarm(ctx, r)
		return err
	})
	return resp, err
}

// Matches reports whether the server lists as many members as it should, and as many of them have started.
func (s *Server) Matches(got, want []*pb.Member) bool {
	return s.isolated || len(got) == len(want) && started(got) == started(want)
}

// started counts the members that have announced where they serve.
func started(members []*pb.Member) (n int) {
	for _, m := range members {
		if len(m.ClientURLs) > 0 {
			n++
		}
	}
	return n
}

func (s *Server) running() bool {
	select {
	case <-s.stopped:
		return false
	default:
		return true
	}
}

// ReadyNotify is closed when the server serves.
func (s *Server) ReadyNotify() <-chan struct{} { return s.ready }

// StopNotify is closed when the process has ended.
func (s *Server) StopNotify() <-chan struct{} { return s.stopped }

// HardStop ends the process and waits for its end.
func (s *Server) HardStop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.stopped:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.stopped
	}
}

// Stop is [Server.HardStop].
func (s *Server) Stop() { s.HardStop() }

// Metric returns the name that the server has for one of etcd's metrics.
func Metric(name string) string {
	if name == "etcd_debugging_mvcc_watcher_total" && os.Getenv(Target) != "etcd" {
		return "stele_watchers"
	}
	return name
}
