package server

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/server/transport"
)

// startWithoutStore starts answering on a free port. It stops at the end of the test unless a server takes over.
func startWithoutStore(t testing.TB) (*Starting, *Options) {
	t.Helper()
	registry := prometheus.NewRegistry()
	opts := Options{
		Logger: quiet(), Gatherer: registry, Probes: NewProbes(), Listeners: []*transport.Listener{listen(t,
			"http://127.0.0.1:0", nil)},
	}
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, &opts
}

// TestResponsesBeforeStoreIsOpen checks that no request waits for the store, and that the server then takes over the
// port and its clients.
func TestResponsesBeforeStoreIsOpen(t *testing.T) {
	starting, opts := startWithoutStore(t)
	url := opts.Listeners[0].URL()
	opts.Probes.Report("the index is being built: 3 of about 9 entries")
	for path, want := range map[string]reply{
		"/livez":       {200, "text/plain; charset=utf-8", "ok\n"},
		"/readyz":      {503, "text/plain; charset=utf-8", "3 of about 9 entries"},
		"/health":      {503, "text/plain; charset=utf-8", "3 of about 9 entries"},
		"/version":     {200, "application/json", `"etcdserver"`},
		"/metrics":     {200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", ""},
		"/v3/kv/range": {503, "text/plain; charset=utf-8", "3 of about 9 entries"},
	} {
		_, got := request(t, http.DefaultClient, http.MethodGet, url+path)
		if got.status != want.status || got.contentType != want.contentType || !strings.Contains(got.body, want.body) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	r := &running{Server: &Server{opts: *opts}}
	kv := pb.NewKVClient(r.dial(t))
	_, err := kv.Range(within(t), &pb.RangeRequest{Key: key})
	if got := status.Convert(err); got.Code() != codes.Unavailable ||
		!strings.Contains(got.Message(), "3 of about 9 entries") {
		t.Errorf("%v", err)
	}

	store := newStore(t)
	server, err := starting.Server(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	run(t, server, store)
	eventually(t, "the client reaches the server", func() bool {
		_, err := kv.Put(within(t), &pb.PutRequest{Key: key})
		return err == nil
	})
	if _, got := request(t, http.DefaultClient, http.MethodGet, url+"/readyz"); got.status != 200 {
		t.Errorf("/readyz: %v", got)
	}
}

// TestCloseOfStartingServerFreesListeners closes a server whose store could not be opened.
func TestCloseOfStartingServerFreesListeners(t *testing.T) {
	starting, opts := startWithoutStore(t)
	r := &running{Server: &Server{opts: *opts}}
	conn := r.dial(t)
	if _, err := pb.NewKVClient(conn).Range(within(t),
		&pb.RangeRequest{Key: key}); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
	starting.Close()
	l, err := transport.Listen(context.Background(), opts.Listeners[0].URL(), nil)
	if err != nil {
		t.Fatalf("the address is still in use: %v", err)
	}
	_ = l.Close()
}
