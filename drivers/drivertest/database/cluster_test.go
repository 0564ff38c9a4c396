package database

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// await waits for a condition.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestSynchronousStandby(t *testing.T) {
	s := Start(t, PostgresSync)
	dsn, proxies := s.ThroughEach(t)
	if err := execPostgres(dsn, "CREATE TABLE before (x int)"); err != nil {
		t.Fatal(err)
	}
	if len(proxies) != 2 {
		t.Fatalf("%d proxies, want 2", len(proxies))
	}
	// Without its standby the primary acknowledges nothing.
	s.Pause(t, 2)
	done := make(chan error, 1)
	go func() { done <- execPostgres(dsn, "CREATE TABLE waited (x int)") }()
	select {
	case err := <-done:
		t.Errorf("a commit without the standby: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	s.Continue(t, 2)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.Kill(t, 1)
	s.Promote(t)
	for _, table := range []string{"before", "waited"} {
		if err := execPostgres(dsn, "DROP TABLE "+table); err != nil {
			t.Errorf("the promoted standby lacks what was acknowledged: %v", err)
		}
	}
}

func TestPooler(t *testing.T) {
	s := Shared(t, PgBouncer)
	dsn := s.DSN(t)
	if !strings.Contains(dsn, s.Address(2)) {
		t.Errorf("the DSN %s does not lead to the pooler at %s", dsn, s.Address(2))
	}
	if err := query(s, dsn); err != nil {
		t.Error(err)
	}
	s.Restart(t, 2)
	if err := query(s, dsn); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("after the pooler's restart: %v", err)
	}
}

func TestCluster(t *testing.T) {
	s := Start(t, Galera)
	name := s.Database(t)
	if err := query(s, s.In(s.Env(t, "DSN_1"), name)); err != nil {
		t.Fatal(err)
	}
	dsn := s.In(s.Env(t, "DSN_2"), name)
	if err := execMySQL(dsn, "DROP TABLE t"); err != nil {
		t.Errorf("the second node lacks what the first one acknowledged: %v", err)
	}
	// All at once, as when the power fails: the first that is restarted is the cluster.
	for node := range s.Nodes() {
		s.Kill(t, node+1)
	}
	s.Restart(t, 2)
	if err := query(s, dsn); err != nil {
		t.Error(err)
	}
	s.Restart(t, 3)
	if err := execMySQL(s.In(s.Env(t, "DSN_3"), name), "DROP TABLE t"); err != nil {
		t.Error(err)
	}
}

// TestOwnerEnds kills a process that owns servers: they end too, and leave nothing.
func TestOwnerEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	owner := exec.CommandContext(ctx, "sleep", "600")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "db")
	start := exec.Command(filepath.Join(root, "scripts", "databases"), "start", Postgres, dir)
	start.Env = append(os.Environ(), "DATABASES_OWNER="+strconv.Itoa(owner.Process.Pid))
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root, err := os.ReadFile(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Kind: Postgres, dir: dir}
	if err := s.readEnv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = owner.Wait() // it was killed
	await(t, "the server is gone", func() bool {
		_, err := os.Stat(strings.TrimSpace(string(root)))
		return os.IsNotExist(err) && query(s, s.Env(t, "DSN")) != nil
	})
}
