package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server/transport"
)

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) entry() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(l)
	return logrus.NewEntry(logger)
}

// Failed logins and denied requests are logged once, with client and user, and without keys and values.
func TestRefusalsAreLogged(t *testing.T) {
	var log logBuffer
	r := serve(t, func(o *Options) { o.Logger, o.BcryptCost = log.entry(), 4 })
	conn := r.dial(t)
	client, kv, ctx := pb.NewAuthClient(conn), pb.NewKVClient(conn), within(t)
	addRoot(ctx, t, client)
	if _, err := client.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "alice", Password: "pass"}); err != nil {
		t.Fatal(err)
	}
	// An invalid request is not a denial.
	_, err := client.UserAdd(ctx, &pb.AuthUserAddRequest{})
	sameStatus(t, err, rpctypes.ErrGRPCUserEmpty)
	if _, err := client.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "denied") {
		t.Errorf("logged before auth was enabled:\n%s", log.String())
	}
	for range 3 {
		_, err := client.Authenticate(ctx, &pb.AuthenticateRequest{Name: "alice", Password: "wrong-password"})
		sameStatus(t, err, rpctypes.ErrGRPCAuthFailed)
	}
	resp, err := client.Authenticate(ctx, &pb.AuthenticateRequest{Name: "alice", Password: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	alice := metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, resp.Token)
	for range 3 {
		_, err := kv.Put(alice, &pb.PutRequest{Key: []byte("secret-key"), Value: []byte("secret-value")})
		sameStatus(t, err, rpctypes.ErrGRPCPermissionDenied)
	}
	logged := log.String()
	for _, want := range []string{
		"refused a login", "denied a request", "user=alice", "client=127.0.0.1", "method=/etcdserverpb.KV/Put",
	} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log lacks %q:\n%s", want, logged)
		}
	}
	if strings.Count(logged, "refused a login") != 1 || strings.Count(logged, "denied a request") != 1 {
		t.Errorf("not one warning of each kind:\n%s", logged)
	}
	for _, secret := range []string{"secret", "password=", "wrong-password", resp.Token} {
		if strings.Contains(logged, secret) {
			t.Errorf("the log holds %q:\n%s", secret, logged)
		}
	}
}

// Requests without a user, and watches, are denied with other errors.
func TestDenialsOfEachKindAreLogged(t *testing.T) {
	for name, send := range map[string]func(ctx context.Context, r *running) error{
		"KV/Range": func(ctx context.Context, r *running) error {
			_, err := pb.NewKVClient(r.dial(t)).Range(ctx, &pb.RangeRequest{Key: []byte("secret")})
			return err
		},
		"Watch/Watch": func(ctx context.Context, r *running) error {
			stream, err := pb.NewWatchClient(r.dial(t)).Watch(ctx)
			if err != nil {
				return err
			}
			create := &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte("secret")}}
			if err := stream.Send(&pb.WatchRequest{RequestUnion: create}); err != nil {
				return err
			}
			resp, err := stream.Recv()
			if err == nil && resp.Canceled {
				err = errors.New(resp.CancelReason)
			}
			return err
		},
		"Maintenance/Defragment": func(ctx context.Context, r *running) error {
			ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, "forged.1")
			_, err := pb.NewMaintenanceClient(r.dial(t)).Defragment(ctx, &pb.DefragmentRequest{})
			return err
		},
	} {
		var log logBuffer
		r := serve(t, func(o *Options) { o.Logger, o.BcryptCost = log.entry(), 4 })
		client := pb.NewAuthClient(r.dial(t))
		addRoot(within(t), t, client)
		if _, err := client.AuthEnable(within(t), &pb.AuthEnableRequest{}); err != nil {
			t.Fatal(err)
		}
		if err := send(within(t), r); err == nil {
			t.Errorf("%s: permitted", name)
		}
		eventually(t, name+" is logged", func() bool {
			return strings.Contains(log.String(), "denied a request") &&
				strings.Contains(log.String(), "method=/etcdserverpb."+name)
		})
		if strings.Contains(log.String(), "secret") {
			t.Errorf("%s: the log holds the key:\n%s", name, log.String())
		}
	}
}

// A failed handshake is logged with its reason. A client that connects and disconnects is not logged.
func TestFailedHandshakesAreLogged(t *testing.T) {
	ca := tlstest.New(t)
	revoked := clientConfig(t, ca, "mallory")
	certs := serverCertificates(t, ca,
		transport.CertificateOptions{TrustedCAFile: ca.CAFile(), CRLFile: ca.Revoke(t, "mallory")})
	var log logBuffer
	r := serve(t, func(o *Options) {
		o.Logger, o.Listeners = log.entry(), []*transport.Listener{listen(t, "https://127.0.0.1:0", certs)}
	})
	scan, err := net.Dial("tcp", r.addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = scan.Close()
	for range 3 {
		conn, err := tls.Dial("tcp", r.addr().String(), revoked)
		if err != nil {
			t.Fatal(err)
		}
		// With TLS 1.3 the client learns of the refusal when it reads.
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a revoked certificate was let in")
		}
		_ = conn.Close()
	}
	eventually(t, "the failure is logged", func() bool { return strings.Contains(log.String(), "handshake") })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	logged := log.String()
	if strings.Count(logged, "handshake") != 1 || !strings.Contains(logged, "revoked") ||
		!strings.Contains(logged, "mallory") {
		t.Errorf("want one warning about mallory's certificate:\n%s", logged)
	}
}

// A warner's memory and log lines are bounded. After the period it repeats a warning with a count.
func TestWarnerIsBounded(t *testing.T) {
	var log logBuffer
	w := newWarner(log.entry())
	now := time.Now()
	w.now = func() time.Time { return now }
	warn := func(host string) {
		w.warn("kind", host, "refused", errors.New(strings.Repeat("x", 10_000)), func() logrus.Fields { return nil })
	}
	for i := range 2 * maxWarnings {
		warn(fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	if lines := strings.Count(log.String(), "\n"); lines != maxWarnings || len(w.warnings) != maxWarnings {
		t.Errorf("%d lines, %d remembered, want %d", lines, len(w.warnings), maxWarnings)
	}
	if len(log.String()) > maxWarnings*1000 {
		t.Errorf("%d bytes of log", len(log.String()))
	}
	warn("10.0.0.0")
	now = now.Add(warningPeriod)
	warn("10.0.0.0")
	if !strings.Contains(log.String(), "repeated=1") {
		t.Error("the repeated warnings are not counted")
	}
	warn("2001:db8::1")
	warn("2001:db8::2") // of the same network
	if lines := strings.Count(log.String(), "\n"); lines != maxWarnings+2 || len(w.warnings) != 2 {
		t.Errorf("%d lines, %d remembered after the period", lines, len(w.warnings))
	}
}
