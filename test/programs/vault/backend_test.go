package vault

import (
	"os"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/physical/etcd"
	"github.com/hashicorp/vault/sdk/physical"
)

// TestBackend runs Vault's exercises for storage backends on the server of STELE_TEST_ADDRESS. Vault's own
// TestEtcd3Backend runs them on an etcd in a container.
func TestBackend(t *testing.T) {
	address := os.Getenv("STELE_TEST_ADDRESS")
	if address == "" {
		t.Skip("runs with STELE_TEST_ADDRESS=http://HOST:PORT")
	}
	backend := func() physical.Backend {
		b, err := etcd.NewEtcdBackend(map[string]string{
			"address":    address,
			"path":       "/vault",
			"etcd_api":   "3",
			"ha_enabled": "true",
			"sync":       "true",
		}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, two := backend(), backend()
	t.Run("Backend", func(t *testing.T) { physical.ExerciseBackend(t, one) })
	t.Run("ListPrefix", func(t *testing.T) { physical.ExerciseBackend_ListPrefix(t, one) })
	t.Run("HABackend", func(t *testing.T) {
		physical.ExerciseHABackend(t, one.(physical.HABackend), two.(physical.HABackend))
	})
}
