package programs

import (
	"testing"

	"github.com/stele-db/stele/test/internal/target"
)

// TestVaultBackend runs Vault's exercises for storage backends, with those for locks of high availability, on its
// backend for etcd.
func TestVaultBackend(t *testing.T) {
	long(t) // building takes longer than running
	binary := testBinary(t, "vault", ".")
	sameTranscripts(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) string {
		return goTest(t, binary, ".", "http://"+server.Address)
	})
}
