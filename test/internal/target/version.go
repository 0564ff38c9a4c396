package target

import (
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// AwaitStorageVersion returns once the server reports its own version (major.minor) as the storage version. A new etcd
// has none, or 3.5.0 over HTTP, for its first seconds.
func (t *Target) AwaitStorageVersion(tb testing.TB) {
	tb.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		a, err := t.Maintenance.Status(tb.Context(), &pb.StatusRequest{}, grpc.WaitForReady(true))
		if err != nil {
			tb.Fatal(err)
		}
		if storage, ok := strings.CutSuffix(a.StorageVersion, ".0"); ok && strings.HasPrefix(a.Version, storage+".") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("%s: after a minute, the storage's version is %q, the server's %q", t.Name,
				a.StorageVersion, a.Version)
		}
	}
}
