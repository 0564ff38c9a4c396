package server

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// TestLeaseModeIsLogged checks that each refusal is logged once for a client and a method, through the JSON gateway as
// well.
func TestLeaseModeIsLogged(t *testing.T) {
	var lines bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&lines)
	r := serve(t, func(opts *Options) { opts.Logger = logrus.NewEntry(logger) })
	conn := r.dial(t)
	for range 3 {
		if _, err := pb.NewKVClient(conn).Put(within(t),
			&pb.PutRequest{Key: []byte("lock/3c"), Lease: 60}); err == nil {
			t.Fatal("a key that is named after its lease was written")
		}
		_, err := pb.NewLeaseClient(conn).LeaseRevoke(within(t), &pb.LeaseRevokeRequest{ID: 60})
		sameStatus(t, err, errLeaseMode)
		stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: 60}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		sameStatus(t, err, errLeaseMode)
	}
	resp, err := http.Post("http://"+r.addr().String()+"/v3/lease/leases", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"KV/Put", "Lease/LeaseRevoke", "Lease/LeaseKeepAlive", "Lease/LeaseLeases"} {
		if n := strings.Count(lines.String(), "client=127.0.0.1 error=\"rpc error: code = FailedPrecondition"+
			" desc = stele: this server runs with --lease-mode=ttl"); n != 4 {
			t.Fatalf("%d warnings with the client's address, want 4:\n%s", n, &lines)
		}
		if n := strings.Count(lines.String(), "method=/etcdserverpb."+method+"\n"); n != 1 {
			t.Errorf("%d warnings about %s, want 1:\n%s", n, method, &lines)
		}
	}
}
