package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestMigration runs an API server on a kine or an etcd, migrates the store to Stele, and continues with an API server
// on Stele.
func TestMigration(t *testing.T) {
	programs(t)
	for _, from := range []struct {
		name string
		make func(t *testing.T, m *migration)
	}{{"kine", fromKine}, {"etcd-snapshot", fromSnapshot}, {"etcd-live", fromLive}} {
		t.Run(from.name, func(t *testing.T) {
			logs := logDir(t, "migration-"+from.name)
			t.Cleanup(func() {
				if !t.Failed() {
					_ = os.RemoveAll(logs)
				}
			})
			m := &migration{t: t, logs: logs, endpoint: "sqlite://" + filepath.Join(t.TempDir(), "state.db")}
			from.make(t, m)
		})
	}
}

// migration is one migration of [TestMigration].
type migration struct {
	t        *testing.T
	logs     string
	endpoint string
	c        *cluster
	before   *before
}

// begin starts an API server on the source, whose address is target.
func (m *migration) begin(target string) {
	m.t.Helper()
	m.c = newCluster(m.t, &store{targets: []string{target}}, m.logs)
	m.c.address = port.Free(m.t)
	// During the move, nothing may expire or be compacted.
	m.c.args = []string{"--event-ttl=1h", "--etcd-compaction-interval=0"}
	checkReady(m.t, m.c)
}

// end kills the API server, so that no client writes to the source from then on.
func (m *migration) end() {
	m.t.Helper()
	m.before.finish(m.t, m.c)
	m.c.api.kill()
}

// run runs the command stele, which must succeed.
func (m *migration) run(args ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, stele.Binary(m.t, m.t.TempDir(), false), args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("stele %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	m.t.Logf("%s", bytes.TrimSpace(out))
}

// goOn starts Stele on the copy, and an API server at the address of the previous one.
func (m *migration) goOn(args ...string) {
	m.t.Helper()
	m.run("check", "--endpoint", m.endpoint)
	s := stele.Start(m.t, stele.Options{Endpoint: m.endpoint, Plain: true, Args: args})
	m.c.store = &store{servers: []server{s}, targets: []string{s.Target}}
	begin := time.Now()
	m.c.api = m.c.startAPIServer(m.t, 2)
	m.c.awaitReady(m.t)
	m.t.Logf("the API server is ready after %s", short(time.Since(begin)))
	m.before.compare(m.t, m.c)
}

func fromKine(t *testing.T, m *migration) {
	dir := t.TempDir()
	target := port.Free(t)
	kine := process.Program{Name: "kine", Package: "github.com/k3s-io/kine", Dir: "bench"}.Binary(t, t.TempDir())
	p := spawn(t, t, m.logs, "kine", kine, nil, "--listen-address="+target,
		"--endpoint=sqlite://"+filepath.Join(dir, "kine.db")+"?_journal=WAL&cache=shared&_busy_timeout=30000")
	await(t, time.Minute, func(context.Context) error {
		if err := p.check(); err != nil {
			return stop{err}
		}
		conn, err := net.Dial("tcp", target)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	m.begin(target)
	m.before = prepare(t, m.c)
	m.end()
	p.kill()
	m.run("import", "--from=kine", "--source=sqlite://"+filepath.Join(dir, "kine.db"), "--endpoint="+m.endpoint)
	m.goOn()
}

func fromSnapshot(t *testing.T, m *migration) {
	source := etcd.Start(t, etcd.Options{Args: []string{progressNotify}})
	m.begin(source.Target)
	m.before = prepare(t, m.c)
	m.end()
	client := connect.Client(t, source.Target)
	content, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "snapshot.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, content); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := source.Kill(); err != nil {
		t.Fatal(err)
	}
	m.run("import", "--from=etcd", "--source="+file.Name(), "--endpoint="+m.endpoint)
	m.goOn("--lease-mode=etcd")
}

func fromLive(t *testing.T, m *migration) {
	source := etcd.Start(t, etcd.Options{Args: []string{progressNotify}})
	m.begin(source.Target)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	following := exec.CommandContext(ctx, stele.Binary(t, t.TempDir(), false), "import", "--from=etcd",
		"--source=http://"+source.Target, "--endpoint="+m.endpoint, "--follow")
	var out bytes.Buffer
	following.Stdout, following.Stderr = &out, &out
	if err := following.Start(); err != nil {
		t.Fatal(err)
	}
	// The API server serves clients during the copy.
	m.before = prepare(t, m.c)
	m.end()
	if err := following.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := following.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Logf("%s", bytes.TrimSpace(out.Bytes()))
	if strings.Contains(out.String(), "WRITTEN SINCE") {
		t.Error(fmt.Sprint("something wrote after the end: ", out.String()))
	}
	if err := source.Kill(); err != nil {
		t.Fatal(err)
	}
	m.goOn("--lease-mode=etcd")
}
