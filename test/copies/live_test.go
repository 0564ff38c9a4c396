package copies

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/stele"
)

// following is what an import logs when it has copied a snapshot.
const following = `msg="following the source"`

// TestLive copies an etcd while clients write to it, until it is told to end.
func TestLive(t *testing.T) {
	t.Parallel()
	server := etcd.Start(t, etcd.Options{})
	source := connect.Client(t, server.Target)
	h := newHistory(t, source)
	h.write(100)
	h.compact(50)
	addUsers(t, source)

	endpoint := stele.Database(t, t.TempDir())
	working, stop := context.WithCancel(t.Context())
	defer stop()
	var load errgroup.Group
	importing := startImport(t, "--from=etcd", "--source=http://"+server.Target, "--endpoint="+endpoint, "--follow")
	for i := range 4 {
		load.Go(func() error { return put(working, source, i) })
	}
	importing.log(t, following)
	await(t, source, 300)
	h.write(60) // leases come and go meanwhile
	must[*clientv3.AuthUserAddResponse](t)(source.UserAdd(t.Context(), "late", "the password of late"))
	stop()
	if err := load.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := importing.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out, err := importing.wait()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(out, "WRITTEN SINCE") {
		t.Errorf("%s", out)
	}
	t.Logf("%s", strings.TrimSpace(out))
	want, copied := look(t, source, 0), serve(t, endpoint, "--lease-mode=etcd")
	want.leases = leases(t, source)
	got := look(t, copied, 0)
	got.leases = leases(t, copied)
	same(t, got, want)
	equal(t, "users", users(t, copied), users(t, source))
}

// put writes until ctx ends, which cancels none of its requests: etcd may still apply one whose client has gone, after
// the import has ended.
func put(ctx context.Context, client *clientv3.Client, i int) error {
	for n := 0; ctx.Err() == nil; n++ {
		op := clientv3.OpPut(fmt.Sprintf("load/%d/%d", i, n%50), fmt.Sprint(n))
		if n%7 == 6 {
			op = clientv3.OpDelete(fmt.Sprintf("load/%d/", i), clientv3.WithPrefix())
		}
		if _, err := client.Do(context.WithoutCancel(ctx), op); err != nil {
			return err
		}
	}
	return nil
}

// await waits until so many revisions have been written.
func await(t *testing.T, client *clientv3.Client, n int64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for from := int64(0); ; {
		now := must[*clientv3.GetResponse](t)(client.Get(t.Context(), "none")).Header.Revision
		if from == 0 {
			from = now
		}
		if now >= from+n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("at revision %d, want %d more than %d", now, n, from)
		}
	}
}

// TestLiveUntil ends with a revision that is given, while the source is written further; then once more with none
// given, on a source that was compacted just where it ends.
func TestLiveUntil(t *testing.T) {
	t.Parallel()
	server := etcd.Start(t, etcd.Options{})
	source := connect.Client(t, server.Target)
	h := newHistory(t, source)
	h.write(50)
	until := h.revision() + 30
	endpoint := file(t)
	args := []string{"--from=etcd", "--source=http://" + server.Target}
	importing := startImport(t, append(args, "--endpoint="+endpoint, fmt.Sprintf("--until-revision=%d", until))...)
	importing.log(t, following)
	for h.revision() < until+20 {
		h.write(1)
	}
	if out, err := importing.wait(); err != nil || !strings.Contains(out, "has the same HashKV") {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, look(t, serve(t, endpoint, "--lease-mode=etcd"), 0), look(t, source, until))

	refused(t, "the source is at revision",
		append(args, "--endpoint="+file(t), fmt.Sprintf("--until-revision=%d", until))...)
	h.compact(0)
	endpoint = file(t)
	mustImport(t, append(args, "--endpoint="+endpoint, "--dry-run")...)
	mustImport(t, append(args, "--endpoint="+endpoint)...)
	want := look(t, source, 0)
	got := look(t, serve(t, endpoint, "--lease-mode=etcd"), 0)
	got.hashes, want.hashes = nil, nil
	same(t, got, want)
}

// TestInterrupted kills an import that follows, and lets it go on; and refuses to where the source has compacted what
// comes next.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	server := etcd.Start(t, etcd.Options{})
	source := connect.Client(t, server.Target)
	h := newHistory(t, source)
	h.write(50)
	endpoint := file(t)
	args := []string{"--from=etcd", "--source=http://" + server.Target, "--endpoint=" + endpoint}
	begin := func() {
		t.Helper()
		importing := startImport(t, append(args, "--follow")...)
		h.write(20)
		importing.log(t, following)
		if err := importing.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if out, err := importing.wait(); err == nil {
			t.Errorf("a killed import ended well: %s", out)
		}
	}
	begin()
	h.write(20)
	// A server ends at once, and says what to do.
	serving := startStele(t, "--lease-mode=etcd", "--endpoint="+endpoint, "--listen-address="+port.Free(t))
	if out, err := serving.wait(); err == nil || !strings.Contains(out, "run the `stele import`") {
		t.Errorf("a server on half a copy: %v\n%s", err, out)
	}
	begin()
	if out := mustImport(t, args...); !strings.Contains(out, "resuming an import") {
		t.Errorf("it did not say that it goes on: %s", out)
	}
	same(t, look(t, serve(t, endpoint, "--lease-mode=etcd"), 0), look(t, source, 0))

	args[2] = "--endpoint=" + file(t)
	begin()
	h.write(10)
	h.compact(2)
	refused(t, "empty the target and import again", args...)
	another := etcd.Start(t, etcd.Options{})
	refused(t, "unfinished import", "--from=etcd", "--source=http://"+another.Target, args[2])
	_ = os.Remove(strings.TrimPrefix(args[2], "--endpoint=sqlite://"))
	mustImport(t, args...)
}

// TestLiveUser copies an etcd that requires authentication.
func TestLiveUser(t *testing.T) {
	t.Parallel()
	server := etcd.Start(t, etcd.Options{Args: []string{"--auth-token-ttl=2", "--bcrypt-cost=4"}})
	source := connect.Client(t, server.Target)
	newHistory(t, source).write(30)
	addUsers(t, source)
	want, wantUsers := look(t, source, 0), users(t, source)
	must[*clientv3.AuthEnableResponse](t)(source.AuthEnable(t.Context()))
	endpoint := file(t)
	args := []string{"--from=etcd", "--source=http://" + server.Target, "--endpoint=" + endpoint}
	refused(t, "--user", args...)
	refused(t, "authentication failed", append(args, "--user=root:wrong")...)
	refused(t, "permission denied", append(args, "--user=reader:the password of reader")...)
	if out := mustImport(t, append(args, "--user=root:the password of root")...); strings.Contains(out,
		"the password") {
		t.Errorf("it shows the password: %s", out)
	}
	s := stele.Start(t, stele.Options{Endpoint: endpoint, Args: []string{"--lease-mode=etcd"}})
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Target}, Username: "root",
		Password: "the password of root", DialTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	must[*clientv3.AuthDisableResponse](t)(root.AuthDisable(t.Context()))
	copied := connect.Client(t, s.Target)
	same(t, look(t, copied, 0), want)
	equal(t, "users", users(t, copied)[:4], wantUsers[:4])
}
