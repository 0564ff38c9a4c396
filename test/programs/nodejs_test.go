package programs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/test/internal/target"
)

// TestNodeEtcd3 runs a session with the client of npm's package etcd3. The package does not contain tests of its own.
func TestNodeEtcd3(t *testing.T) {
	node, npm := installed(t, "node", "nodejs"), installed(t, "npm", "npm")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("nodejs")); err != nil {
		t.Fatal(err)
	}
	output(t, dir, npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")

	for _, session := range []struct{ modes, parts []string }{
		{[]string{modeEtcd},
			[]string{"kv", "txn", "watch", "stm", "namespace", "ttl", "lease", "lock", "election", "auth"}},
		{[]string{modeTTL}, []string{"kv", "txn", "watch", "stm", "namespace", "ttl", "auth"}},
	} {
		sameTranscripts(t, session.modes, func(t *testing.T, server *target.Target) string {
			args := append([]string{filepath.Join(dir, "session.js"), server.Address}, session.parts...)
			return output(t, dir, node, args...)
		})
	}
}
