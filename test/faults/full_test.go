package faults

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// smallDisk mounts a file system of size MiB at dir, with the owner of like. grow enlarges it.
func smallDisk(t *testing.T, dir, like string, size int) (grow func(size int)) {
	t.Helper()
	info, err := os.Stat(like)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	options := func(size int) string {
		return fmt.Sprintf("size=%dm,mode=0700,uid=%d,gid=%d", size, owner.Uid, owner.Gid)
	}
	err = syscall.Mount("tmpfs", dir, "tmpfs", 0, options(size))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("only root can mount a small file system to fill")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A database server may still have deleted files open.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return func(size int) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, options(size)); err != nil {
			t.Fatal(err)
		}
	}
}

// smallDatabase creates a database on a disk that a few writes fill.
func smallDatabase(t *testing.T, kind string) (endpoint string, grow func(size int)) {
	t.Helper()
	switch kind {
	case stele.SQLite:
		dir := t.TempDir()
		grow = smallDisk(t, dir, dir, 4)
		return "sqlite://" + filepath.Join(dir, "state.db"), grow
	case database.MariaDB:
		return smallInnoDB(t)
	}
	s := database.Shared(t, kind)
	data := filepath.Join(s.Env(t, "ROOT"), "node1", "data")
	dir, err := os.MkdirTemp(filepath.Dir(data), "small")
	if err != nil {
		t.Fatal(err)
	}
	grow = smallDisk(t, dir, data, 24)
	name := fmt.Sprintf("small_%016x", rand.Uint64())
	db, err := sql.Open("pgx", s.Env(t, "ADMIN_DSN_1"))
	if err != nil {
		t.Fatal(err)
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	exec("CREATE TABLESPACE " + name + " LOCATION '" + dir + "'")
	exec("CREATE DATABASE " + name + " OWNER stele TABLESPACE " + name)
	t.Cleanup(func() {
		exec("DROP DATABASE " + name + " WITH (FORCE)")
		exec("DROP TABLESPACE " + name)
		_ = db.Close()
	})
	return s.In(s.Env(t, "DSN"), name), grow
}

// smallInnoDB starts a MariaDB server whose tables share a file of limited size. MariaDB of Debian 12 exits if its disk
// is full.
func smallInnoDB(t *testing.T) (endpoint string, grow func(size int)) {
	t.Helper()
	s := database.Start(t, database.MariaDB)
	config := filepath.Join(s.Env(t, "ROOT"), "node1", "my.cnf")
	original, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	grow = func(size int) {
		t.Helper()
		limit := fmt.Sprintf("\ninnodb_file_per_table = 0\ninnodb_data_file_path = "+
			"ibdata1:12M:autoextend:max:%dM\n", size)
		if err := os.WriteFile(config, append(slices.Clip(original), limit...), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Restart(t, 1)
	}
	grow(32)
	return s.DSN(t), grow
}

// TestDatabaseFull fills the disk of a database. Reads succeed, and /health, /readyz, Status and the alarms report the
// reason until there is space; then writes succeed again without a restart.
func TestDatabaseFull(t *testing.T) {
	for _, kind := range []string{stele.SQLite, database.Postgres, database.MariaDB} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			endpoint, grow := smallDatabase(t, kind)
			server := stele.Start(t, stele.Options{Endpoint: endpoint})
			client := connect.Client(t, server.Target)
			maintenance := pb.NewMaintenanceClient(connect.GRPC(t, server.Target))
			put := func(size int) error {
				value := make([]byte, size)
				for i := range value {
					value[i] = byte(rand.Uint32())
				}
				_, err := client.Put(ctx, "key", string(value))
				return err
			}
			if err := put(1); err != nil {
				t.Fatal(err)
			}
			checkHealth(t, server, true)
			writes := 0
			for _, size := range []int{256 << 10, 16 << 10, 2 << 10} {
				var err error
				for ; err == nil; writes++ {
					err = put(size)
				}
				if !errors.Is(err, rpctypes.ErrNoSpace) {
					t.Fatalf("write %d: %v", writes, err)
				}
			}
			t.Logf("full after %d writes", writes)
			checkHealth(t, server, false)
			if got, err := client.Get(ctx, "key"); err != nil || got.Count != 1 {
				t.Errorf("a linearizable read: %v, %v", got, err)
			}
			st, err := maintenance.Status(ctx, &pb.StatusRequest{})
			if err != nil || !slices.ContainsFunc(st.Errors,
				func(e string) bool { return strings.Contains(e, "disk of the database is full") }) {
				t.Errorf("status: %v, %v", st, err)
			}
			if alarms, err := client.AlarmList(ctx); err != nil || len(alarms.Alarms) != 1 ||
				alarms.Alarms[0].Alarm != pb.AlarmType_NOSPACE {
				t.Errorf("alarms: %v, %v", alarms, err)
			}

			grow(200)
			grown := time.Now()
			for status, _ := get(t, server, "/readyz"); status != http.StatusOK; status, _ = get(t, server, "/readyz") {
				if time.Since(grown) > 15*time.Second {
					t.Fatal("not ready although there is space again")
				}
				<-time.After(20 * time.Millisecond)
			}
			t.Logf("ready %v after there was space", time.Since(grown).Round(time.Millisecond))
			checkHealth(t, server, true)
			if err := put(256 << 10); err != nil {
				t.Error(err)
			}
			if got, err := client.Get(ctx, "key"); err != nil || got.Header.Revision < int64(writes)-2 {
				t.Errorf("afterwards: %v, %v", got, err)
			}
			server.Check(t)
		})
	}
}

// checkHealth compares the health checks with those of a database that is full, or is not.
func checkHealth(t *testing.T, server *stele.Server, good bool) {
	t.Helper()
	want := map[string]string{
		"/health": `200 {"health":"true","reason":""}`, "/health?exclude=NOSPACE": `200 {"health":"true","reason":""}`,
		"/readyz": "200 ok", "/readyz?exclude=database_writable": "200 ok", "/livez": "200 ok",
	}
	if !good {
		want["/health"] = `503 {"health":"false","reason":"ALARM NOSPACE"}`
		want["/readyz"] = "503 [+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n" +
			"[+]non_learner ok\n[-]database_writable failed: the disk of the database is full"
	}
	for path, want := range want {
		status, body := get(t, server, path)
		if got := fmt.Sprintf("%d %s", status, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func get(t *testing.T, server *stele.Server, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+server.Target+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(bytes.TrimSpace(body))
}
