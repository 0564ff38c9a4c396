package copies

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestBetween copies from an SQLite file to PostgreSQL, from there to MariaDB, and from there to a file again.
func TestBetween(t *testing.T) {
	t.Parallel()
	from := file(t)
	s := stele.Start(t, stele.Options{Endpoint: from, Args: []string{"--lease-mode=etcd"}})
	client := connect.Client(t, s.Target)
	h := newHistory(t, client)
	h.write(100)
	h.compact(50)
	h.write(50)
	addUsers(t, client)
	want, wantUsers := read(t, client, 0), users(t, client)
	want.leases = leases(t, client)
	refused(t, "no such file", "--from=stele", "--source=sqlite://none.db", "--endpoint="+file(t))
	for _, to := range []string{
		database.Shared(t, database.Postgres).DSN(t), database.Shared(t, database.MariaDB).DSN(t), file(t),
	} {
		mustImport(t, "--from=stele", "--source="+from, "--endpoint="+to)
		from = to
	}
	refused(t, "it is not empty", "--from=stele", "--source="+from, "--endpoint="+from)
	copied := serve(t, from, "--lease-mode=etcd")
	got := read(t, copied, 0)
	got.leases = leases(t, copied)
	same(t, got, want)
	equal(t, "users", users(t, copied), wantUsers)
	// A running Stele is a source like an etcd.
	server := stele.Start(t, stele.Options{Endpoint: from, Args: []string{"--lease-mode=etcd"}})
	to := file(t)
	mustImport(t, "--from=etcd", "--source=http://"+server.Target, "--endpoint="+to)
	copied = serve(t, to, "--lease-mode=etcd")
	got = read(t, copied, 0)
	got.leases = leases(t, copied)
	same(t, got, want)
	equal(t, "users", users(t, copied), wantUsers)
}

// TestBetweenTTL copies a Stele in lease mode ttl, from its database and from its port.
func TestBetweenTTL(t *testing.T) {
	t.Parallel()
	from := file(t)
	s := stele.Start(t, stele.Options{Endpoint: from})
	client := connect.Client(t, s.Target)
	for i := range 50 {
		must[*clientv3.PutResponse](t)(client.Put(t.Context(), key(i%7), "v",
			clientv3.WithLease(clientv3.LeaseID(10_000+i%3))))
	}
	want := read(t, client, 0)
	for _, source := range []string{"--from=stele --source=" + from, "--from=etcd --source=http://" + s.Target} {
		to := file(t)
		mustImport(t, append(strings.Fields(source), "--endpoint="+to)...)
		same(t, read(t, serve(t, to), 0), want)
	}
}

// TestThereAndBackAgain copies a Stele to an etcd by a snapshot, and that etcd to another Stele.
func TestThereAndBackAgain(t *testing.T) {
	t.Parallel()
	client := connect.Client(t, stele.Start(t, stele.Options{Args: []string{"--lease-mode=etcd"}}).Target)
	h := newHistory(t, client)
	h.write(100)
	h.compact(50)
	h.write(50)
	addUsers(t, client)
	want, wantUsers := read(t, client, 0), users(t, client)
	want.leases = leases(t, client)

	dir := filepath.Join(t.TempDir(), "etcd")
	restore := exec.CommandContext(t.Context(),
		process.Program{Name: "etcdutl", Package: "go.etcd.io/etcd/etcdutl/v3", Dir: "."}.Binary(t, t.TempDir()),
		"snapshot", "restore", save(t, client), "--data-dir="+dir)
	var out bytes.Buffer
	restore.Stdout, restore.Stderr = &out, &out
	if err := restore.Run(); err != nil {
		t.Fatalf("etcdutl snapshot restore: %v\n%s", err, out.String())
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		t.Fatalf("etcdutl restored nothing: %s", out.String())
	}
	server := etcd.Start(t, etcd.Options{Dir: dir})
	there := connect.Client(t, server.Target)
	same(t, read(t, there, 0), withoutLeases(want))
	equal(t, "users", users(t, there), wantUsers)

	endpoint := file(t)
	mustImport(t, "--from=etcd", "--source=http://"+server.Target, "--endpoint="+endpoint)
	back := serve(t, endpoint, "--lease-mode=etcd")
	got := read(t, back, 0)
	got.leases = leases(t, back)
	same(t, got, want)
	equal(t, "users", users(t, back), wantUsers)
}

// withoutLeases returns a copy of want without leases.
func withoutLeases(want *contents) *contents {
	w := *want
	w.leases = nil
	return &w
}
