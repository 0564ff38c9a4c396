package copies

import (
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestSnapshot copies a snapshot with history, compaction, leases, users and roles.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	source := connect.Client(t, etcd.Start(t, etcd.Options{}).Target)
	h := newHistory(t, source)
	h.write(150)
	h.compact(60)
	h.write(80)
	addUsers(t, source)
	path := save(t, source)
	want := read(t, source, 0)
	want.leases = leases(t, source)
	wantUsers := users(t, source)

	endpoint := stele.Database(t, t.TempDir())
	args := []string{"--from=etcd", "--source=" + path, "--endpoint=" + endpoint}
	mustImport(t, append(args, "--dry-run")...)
	mustImport(t, args...)
	refused(t, "it is not empty", args...)
	copied := serve(t, endpoint, "--lease-mode=etcd")
	got := read(t, copied, 0)
	got.leases = leases(t, copied)
	same(t, got, want)
	equal(t, "users", users(t, copied), wantUsers)

	// The copy continues where the source ended, including leases that expire.
	put := must[*clientv3.PutResponse](t)(copied.Put(t.Context(), "new", ""))
	if put.Header.Revision != want.revision+1 {
		t.Errorf("the first write is at revision %d, want %d", put.Header.Revision, want.revision+1)
	}
	for _, id := range h.leases {
		must[*clientv3.LeaseRevokeResponse](t)(copied.Revoke(t.Context(), id))
	}
}

// TestSnapshotRefused checks that the target is unchanged if the file is invalid.
func TestSnapshotRefused(t *testing.T) {
	t.Parallel()
	server := etcd.Start(t, etcd.Options{})
	source := connect.Client(t, server.Target)
	newHistory(t, source).write(20)
	path := save(t, source)
	endpoint := file(t)
	content := must[[]byte](t)(os.ReadFile(path))
	damaged := filepath.Join(t.TempDir(), "damaged.db")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(damaged, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed := append([]byte(nil), content...)
	changed[len(changed)/2] ^= 1
	write(changed)
	refused(t, "checksum", "--from=etcd", "--source="+damaged, "--endpoint="+endpoint)
	write(content[:len(content)-32])
	refused(t, "--skip-hash-check", "--from=etcd", "--source="+damaged, "--endpoint="+endpoint)
	refused(t, "no such file", "--from=etcd", "--source="+path+".none", "--endpoint="+endpoint)
	refused(t, "--lease-mode", "--from=etcd", "--source="+path, "--endpoint="+endpoint, "--lease-mode=ttl")
	refused(t, "--follow", "--from=etcd", "--source="+path, "--endpoint="+endpoint, "--follow")
	refused(t, "--source is missing", "--from=etcd", "--endpoint="+endpoint)
	mustImport(t, "--from=etcd", "--source="+damaged, "--endpoint="+endpoint, "--skip-hash-check")
}

// addUsers adds users and roles without enabling auth.
func addUsers(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	for _, name := range []string{"root", "reader"} {
		must[*clientv3.AuthRoleAddResponse](t)(client.RoleAdd(ctx, name))
		must[*clientv3.AuthUserAddResponse](t)(client.UserAdd(ctx, name, "the password of "+name))
		must[*clientv3.AuthUserGrantRoleResponse](t)(client.UserGrantRole(ctx, name, name))
	}
	must[*clientv3.AuthRoleGrantPermissionResponse](t)(client.RoleGrantPermission(ctx, "reader", "a", "b\x00",
		clientv3.PermissionType(clientv3.PermRead)))
}
