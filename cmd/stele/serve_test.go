package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/version"
)

func fetch(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", url, resp.Status, err, body)
	}
	return string(body)
}

// The program gets no arguments. Only the port comes from the environment, because another server may use 2379.
func TestWithoutArgumentsItServesAndSaysWhereAndHow(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir, []string{"STELE_LISTEN_ADDRESS=127.0.0.1:0"})
	url := p.url()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	said := p.stdout.String()
	if !strings.Contains(said, filepath.Join(real, "db", "state.db")) {
		t.Errorf("does not say where the data is: %s", said)
	}
	if !strings.Contains(said, "etcdctl --endpoints="+url+" ") {
		t.Errorf("does not say how to connect: %s", said)
	}
	kv := p.kv()
	put(t, kv, "hello", "world")
	if got := get(t, kv, "hello"); got != "world" {
		t.Errorf("hello is %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "db", "state.db")); err != nil {
		t.Error(err)
	}
	var v map[string]string
	if err := json.Unmarshal([]byte(fetch(t, http.DefaultClient, url+"/version")), &v); err != nil ||
		v["etcdserver"] != version.Etcd {
		t.Errorf("/version: %v %v", v, err)
	}
	fetch(t, http.DefaultClient, url+"/readyz")
	metrics := fetch(t, http.DefaultClient, url+"/metrics")
	if !strings.Contains(metrics, "process_resident_memory_bytes") {
		t.Errorf("/metrics lacks the process's own: %.300s", metrics)
	}
	p.stop()
}

func TestSIGTERMTellsWatchersAndKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	conn := p.connect(nil)
	watch, err := pb.NewWatchClient(conn).Watch(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("k")},
	}}
	if err := watch.Send(create); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	kv := pb.NewKVClient(conn)
	revision := put(t, kv, "k", "last")
	p.stop()

	for err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the watcher was told %v, want Unavailable", err)
	}
	again := start(t, dir)
	resp, err := again.kv().Range(testContext(t), &pb.RangeRequest{Key: []byte("k")}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "last" || resp.Kvs[0].ModRevision != revision {
		t.Errorf("after the restart k is %v, want last at revision %d", resp.Kvs, revision)
	}
	again.stop()
}

// Requests in flight when the signal comes are answered.
func TestSIGINTFinishesRequestsInFlight(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	kv := p.kv()
	put(t, kv, "warm", "up")
	var acknowledged []string
	done := make(chan error, 1)
	go func() {
		for i := range 100000 {
			key := string(rune('a'+i%26)) + strings.Repeat("x", i%7)
			if _, err := kv.Put(testContext(t), &pb.PutRequest{Key: []byte(key), Value: []byte("v")}); err != nil {
				done <- err
				return
			}
			acknowledged = append(acknowledged, key)
		}
		done <- nil
	}()
	p.await("a hundred writes", func() bool { return revisionOf(t, kv) > 100 })
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := <-done; status.Code(err) != codes.Unavailable {
		t.Errorf("the writer ended with %v, want Unavailable", err)
	}
	again := start(t, dir)
	kv = again.kv()
	if got, least := revisionOf(t, kv), int64(len(acknowledged))+2; got < least || got > least+1 {
		t.Errorf("revision %d after %d acknowledged writes", got, len(acknowledged)+1)
	}
}

func revisionOf(t *testing.T, kv pb.KVClient) int64 {
	t.Helper()
	resp, err := kv.Range(testContext(t), &pb.RangeRequest{Key: []byte("nothing")}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := start(t, t.TempDir())
	// A stream that its client never ends delays the graceful stop of the first signal.
	stream, err := reflectionpb.NewServerReflectionClient(p.connect(nil)).ServerReflectionInfo(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	list := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(list); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	p.await("the graceful stop", func() bool { return strings.Contains(p.stderr.String(), "stopping") })
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want 143; 0 means that nothing held the graceful stop up", code)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v after the second signal", took)
	}
}

func TestUnixSocket(t *testing.T) {
	// The path of a socket may have at most about 100 bytes, and the directory of a test can be longer.
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, address := range []string{"unix://kine.sock", "unix://" + dir + "/stele.sock"} {
		p := launch(t, dir, nil, "--listen-address="+address)
		url := p.url()
		path := strings.TrimPrefix(url, "unix://")
		if !filepath.IsAbs(path) {
			t.Errorf("%s: a client elsewhere cannot use %s", address, url)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		put(t, p.kv(), "k", "v")
		p.stop()
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s was left behind", path)
		}
	}
}

func TestKineUnitFileWorksAndWarns(t *testing.T) {
	p := launch(t, t.TempDir(), nil, kineCommandLine...)
	put(t, p.kv(), "k", "v")
	logged := p.stderr.String()
	for _, r := range retired {
		if got := strings.Count(logged, "--"+r.name+" has no effect"); got != 1 {
			t.Errorf("--%s was warned of %d times", r.name, got)
		}
	}
	for _, secret := range []string{"very-secret", "AKIA", "sesame"} {
		if strings.Contains(logged, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if said := p.stdout.String(); said != "" {
		t.Errorf("with --log-format=json standard output has %q", said)
	}
	for line := range strings.Lines(logged) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["message"] == nil ||
			fields["severity"] == nil {
			t.Errorf("--log-format=json wrote %q", line)
		}
	}
	p.stop()
}

func TestCompactIntervalCompacts(t *testing.T) {
	p := start(t, t.TempDir(), "--compact-interval=100ms", "--compact-min-retain=2")
	kv := p.kv()
	first := put(t, kv, "k", "1")
	for range 10 {
		put(t, kv, "k", "2")
	}
	p.await("a compaction", func() bool {
		_, err := kv.Range(testContext(t), &pb.RangeRequest{Key: []byte("k"), Revision: first})
		return status.Code(err) == codes.OutOfRange
	})
	if get(t, kv, "k") != "2" {
		t.Error("the current value is gone")
	}
}

func TestLimitsAreFlags(t *testing.T) {
	p := start(t, t.TempDir(), "--max-request-bytes=1000", "--max-txn-ops=2")
	kv := p.kv()
	_, err := kv.Put(testContext(t), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, 1001)},
		grpc.WaitForReady(true))
	if status.Code(err) != codes.InvalidArgument ||
		!strings.Contains(status.Convert(err).Message(), "request is too large") {
		t.Errorf("a request of 1001 bytes: %v", err)
	}
	op := func(key string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key)}}}
	}
	_, err = kv.Txn(testContext(t), &pb.TxnRequest{Success: []*pb.RequestOp{op("a"), op("b"), op("c")}})
	if status.Code(err) != codes.InvalidArgument ||
		!strings.Contains(status.Convert(err).Message(), "too many operations") {
		t.Errorf("three operations: %v", err)
	}
	if got := revisionOf(t, kv); got != 1 {
		t.Errorf("revision %d after refused requests", got)
	}
}

func TestMemberListShowsNameAndURLs(t *testing.T) {
	p := start(t, t.TempDir(), "--name=one",
		"--advertise-client-urls=unixs:///run/stele.sock,unix://,http://stele.example:2379")
	resp, err := pb.NewClusterClient(p.connect(nil)).MemberList(testContext(t), &pb.MemberListRequest{},
		grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Members) != 1 || resp.Members[0].Name != "one" ||
		// etcd's format
		strings.Join(resp.Members[0].ClientURLs, ",") != "http://stele.example:2379,unix:,unixs:///run/stele.sock" {
		t.Errorf("members %v", resp.Members)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"-version"}, {"-v"}} {
		p := launch(t, t.TempDir(), nil, args...)
		if code := p.wait(); code != 0 {
			t.Errorf("%v: exit code %d", args, code)
		}
		if got, want := p.stdout.String(), "stele version "+version.String()+"\n"; got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
}

// TestAnswersWithoutDatabase checks that the probes and gRPC answer while the database cannot be reached, on the
// metrics port too.
func TestAnswersWithoutDatabase(t *testing.T) {
	closed := listenTCP(t) // no server answers a PostgreSQL client at this address
	p := launch(t, t.TempDir(), nil, "--endpoint=postgres://stele@"+closed+"/stele?sslmode=disable&connect_timeout=1",
		"--listen-address=unix://s", "--metrics-bind-address=127.0.0.1:0")
	url := "http://" + metricsAddress(t, p)
	for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/health": 503, "/metrics": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
	p.stop()
}

// The keep-alive flags reach the server: a client that does not answer pings is disconnected.
func TestKeepAliveFlags(t *testing.T) {
	p := start(t, t.TempDir(), "--grpc-keepalive-interval=1s", "--grpc-keepalive-timeout=1s",
		"--grpc-keepalive-min-time=0")
	conn, err := new(net.Dialer).DialContext(testContext(t), "tcp", strings.TrimPrefix(p.url(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	if _, err := conn.Write([]byte(preface)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a client that answers no ping stays connected")
	}
}
