// Package etcd runs etcd, the reference for Stele's answers, as one member on loopback.
//
// It is a separate process, always built without the race detector: 3.7 has a data race in the events that its watchers
// share, and would be several times slower.
package etcd

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
)

// Options configure an etcd. The zero value means etcd's defaults, in a directory of the test and without fsync.
type Options struct {
	// Dir holds the data; empty is a directory that is removed after the test.
	Dir string
	// Args are added to the command line.
	Args []string
	// TLS are dial options for a server with TLS in its Args.
	TLS []grpc.DialOption
	// Fsync makes commits durable. The reference of a comparison does not need it, a benchmark does.
	Fsync bool
}

// Server is an etcd process. Launch, Kill, Stop and so on are methods of process.Server.
type Server struct {
	*process.Server
	// Target is the client address for grpc and clientv3.
	Target string
	// Dir holds the data.
	Dir string
}

// Start runs etcd until the end of the test and returns once it serves.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s := &Server{Dir: opts.Dir, Target: port.Free(t)}
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	client, peer := "http://"+s.Target, "http://"+port.Free(t)
	if opts.TLS != nil {
		client = "https://" + s.Target
	}
	args := []string{
		"--data-dir", s.Dir,
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "default=" + peer,
		"--log-level", "error",
	}
	if !opts.Fsync {
		args = append(args, "--unsafe-no-fsync")
	}
	s.Server = process.New(t, process.Config{
		Binary: Binary(t, t.TempDir()),
		Args:   append(args, opts.Args...),
		Dir:    s.Dir,
		Target: s.Target,
		Dial:   opts.TLS,
	})
	// SIGKILL suffices because the data is removed. After SIGTERM etcd exits by the signal, which looks like a failure.
	t.Cleanup(func() { _ = s.Kill() })
	if err := s.Launch(context.Background()); err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	return s
}

// Binary returns the path in dir of an etcd binary that belongs to the test.
func Binary(t testing.TB, dir string) string {
	t.Helper()
	return process.Program{Name: "etcd", Package: "go.etcd.io/etcd/server/v3", Dir: "."}.Binary(t, dir)
}
