package clients

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestMovedFile moves the SQLite file of a running server. Within a second the server refuses writes and linearizable
// reads; every health check and the alarm list show it; and the process does not claim at its end that everything is on
// disk. After the file is moved back, it has all writes.
func TestMovedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	s := stele.Start(t, stele.Options{Dir: dir, Endpoint: "sqlite://" + path})
	conn := connect.GRPC(t, s.Target)
	kv, maintenance := pb.NewKVClient(conn), pb.NewMaintenanceClient(conn)
	key := []byte("key")
	if _, err := kv.Put(t.Context(), &pb.PutRequest{Key: key, Value: []byte("acknowledged")}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".other"); err != nil {
		t.Fatal(err)
	}
	ready := func() (int, string) { return get(t, s.Target, "/readyz") }
	for deadline := time.Now().Add(time.Second); ; {
		if code, _ := ready(); code == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("/readyz is good a second after the file was moved")
		}
	}
	if _, body := ready(); !strings.Contains(body, "[-]data_corruption failed: alarm activated: CORRUPT") {
		t.Errorf("/readyz: %s", body)
	}
	if code, body := get(t, s.Target, "/health"); code != http.StatusServiceUnavailable ||
		!strings.Contains(body, "ALARM CORRUPT") {
		t.Errorf("/health: %d %s", code, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := kv.Put(ctx, &pb.PutRequest{Key: key, Value: []byte("refused")})
	if !errors.Is(rpctypes.Error(err), rpctypes.ErrCorrupt) {
		t.Errorf("Put: %v", err)
	}
	if _, err := kv.Range(ctx, &pb.RangeRequest{Key: key}); !errors.Is(rpctypes.Error(err), rpctypes.ErrCorrupt) {
		t.Errorf("a linearizable Range: %v", err)
	}
	if res, err := kv.Range(ctx, &pb.RangeRequest{Key: key, Serializable: true}); err != nil || len(res.Kvs) != 1 {
		t.Errorf("a serializable Range: %v, %v", res, err)
	}
	alarms, err := maintenance.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	if err != nil || len(alarms.Alarms) != 1 || alarms.Alarms[0].Alarm != pb.AlarmType_CORRUPT ||
		alarms.Alarms[0].MemberID != alarms.Header.MemberId {
		t.Errorf("Alarm: %v, %v", alarms, err)
	}
	if status, err := maintenance.Status(ctx, &pb.StatusRequest{}); err != nil ||
		!strings.Contains(strings.Join(status.Errors, " "), "alarm:CORRUPT") || status.DbSize == 0 {
		t.Errorf("Status: %v, %v", status, err)
	}
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("the process ended with %v", err)
	}
	logs := s.Logs()
	if n := strings.Count(logs, "level=error"); n != 1 ||
		!strings.Contains(logs, "state.db was removed or renamed while it was open") ||
		strings.Contains(logs, "everything acknowledged is on disk") {
		t.Errorf("%d errors in the log:\n%s", n, logs)
	}
	if err := os.Rename(path+".other", path); err != nil {
		t.Fatal(err)
	}
	s = stele.Start(t, stele.Options{Dir: dir, Endpoint: "sqlite://" + path})
	res, err := pb.NewKVClient(connect.GRPC(t, s.Target)).Range(t.Context(), &pb.RangeRequest{Key: key})
	if err != nil || len(res.Kvs) != 1 || string(res.Kvs[0].Value) != "acknowledged" {
		t.Errorf("after the file was put back: %v, %v", res, err)
	}
}

// get returns the status and the body of an answer.
func get(t *testing.T, target, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + target + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
