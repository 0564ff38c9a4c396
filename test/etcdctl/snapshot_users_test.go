package etcdctl

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/target"
)

// cheapPasswords makes hashing fast, which takes seconds with the race detector.
const cheapPasswords = "--bcrypt-cost=4"

// TestSnapshotOfUsers restores the snapshot of a server with users into an etcd, which must have the same users,
// passwords and permissions.
func TestSnapshotOfUsers(t *testing.T) {
	t.Parallel()
	etcdutl, etcdctl := tool(t, "etcdutl"), tool(t, "etcdctl")
	ctx, cancel := context.WithTimeout(t.Context(), snapshotTimeout)
	defer cancel()
	server := target.Stele(t, cheapPasswords)
	for _, command := range []string{
		"put web/page hello", "put settings dark", "user add root:secret", "user grant-role root root", "role add web",
		"role grant-permission web readwrite --prefix web/", "user add alice:wonder", "user grant-role alice web",
		"auth enable",
	} {
		call(ctx, t, etcdctl, append([]string{"--endpoints", server.Address}, strings.Fields(command)...)...)
	}
	path, dir := filepath.Join(t.TempDir(), "snapshot.db"), filepath.Join(t.TempDir(), "restored")
	call(ctx, t, etcdctl, "--endpoints", server.Address, "--user=root:secret", "snapshot", "save", path)
	call(ctx, t, etcdutl, "snapshot", "restore", path, "--data-dir", dir)
	restored := etcd.Start(t, etcd.Options{Dir: dir}).Target

	for _, c := range []struct{ command, refusal string }{
		{"get web/page", "user name is empty"},
		{"--user=alice:wrong get web/page", "authentication failed"},
		{"--user=alice:wonder get settings", "permission denied"},
		{"--user=alice:wonder user list", "permission denied"},
		{"--user=alice:wonder get web/page", ""},
		{"--user=alice:wonder put web/other bye", ""},
		{"--user=root:secret get settings", ""},
		{"--user=root:secret user add bob:builder", ""},
		{"--user=root:secret user grant-role bob no", "role name not found"},
		{"--user=root:secret role get web", ""},
		{"--user=root:secret auth status", ""},
	} {
		for name, address := range map[string]string{"stele": server.Address, "etcd": restored} {
			out, err := exec.CommandContext(ctx, etcdctl,
				append([]string{"--endpoints", address}, strings.Fields(c.command)...)...).CombinedOutput()
			if refused := err != nil; refused != (c.refusal != "") || !strings.Contains(string(out), c.refusal) {
				t.Errorf("%s, %s: %v, want %q\n%s", name, c.command, err, c.refusal, out)
			}
		}
	}
	if got := call(ctx, t, etcdctl, "--endpoints", restored, "--user=alice:wonder", "get",
		"web/page"); got != "web/page\nhello\n" {
		t.Errorf("alice reads %q", got)
	}
}
