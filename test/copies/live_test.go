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

// following is the log message of an import that has copied a snapshot.
const following = `msg="following the source"`

// TestLive copies an etcd while clients write to it, until a signal ends the import.
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
	h.write(60) // with grants and revocations of leases
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
	want, copied := read(t, source, 0), serve(t, endpoint, "--lease-mode=etcd")
	want.leases = leases(t, source)
	got := read(t, copied, 0)
	got.leases = leases(t, copied)
	same(t, got, want)
	equal(t, "users", users(t, copied), users(t, source))
}

// put writes until ctx ends. It cancels no request, because etcd may still apply one after its client and the import
// have ended.
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

// await waits until n more revisions have been written.
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

// TestLiveUntil ends the import at a given revision while clients write to the source. It continues without one, on a
// source that was compacted exactly where the first import ended.
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
	same(t, read(t, serve(t, endpoint, "--lease-mode=etcd"), 0), read(t, source, until))

	refused(t, "the source is at revision",
		append(args, "--endpoint="+file(t), fmt.Sprintf("--until-revision=%d", until))...)
	h.compact(0)
	endpoint = file(t)
	mustImport(t, append(args, "--endpoint="+endpoint, "--dry-run")...)
	mustImport(t, append(args, "--endpoint="+endpoint)...)
	want := read(t, source, 0)
	got := read(t, serve(t, endpoint, "--lease-mode=etcd"), 0)
	got.hashes, want.hashes = nil, nil
	same(t, got, want)
}

// TestInterrupted kills an import that follows its source, and resumes it. If the source has compacted the next
// revision, resuming is refused.
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
			t.Errorf("a killed import exited successfully: %s", out)
		}
	}
	begin()
	h.write(20)
	// A server exits immediately with the command to run.
	serving := startStele(t, "--lease-mode=etcd", "--endpoint="+endpoint, "--listen-address="+port.Free(t))
	if out, err := serving.wait(); err == nil || !strings.Contains(out, "run the `stele import`") {
		t.Errorf("a server on an incomplete copy: %v\n%s", err, out)
	}
	begin()
	if out := mustImport(t, args...); !strings.Contains(out, "resuming an import") {
		t.Errorf("the import did not report that it resumes: %s", out)
	}
	same(t, read(t, serve(t, endpoint, "--lease-mode=etcd"), 0), read(t, source, 0))

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
	want, wantUsers := read(t, source, 0), users(t, source)
	must[*clientv3.AuthEnableResponse](t)(source.AuthEnable(t.Context()))
	endpoint := file(t)
	args := []string{"--from=etcd", "--source=http://" + server.Target, "--endpoint=" + endpoint}
	refused(t, "--user", args...)
	refused(t, "authentication failed", append(args, "--user=root:wrong")...)
	refused(t, "permission denied", append(args, "--user=reader:the password of reader")...)
	if out := mustImport(t, append(args, "--user=root:the password of root")...); strings.Contains(out,
		"the password") {
		t.Errorf("the output contains the password: %s", out)
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
	same(t, read(t, copied, 0), want)
	equal(t, "users", users(t, copied)[:4], wantUsers[:4])
}
