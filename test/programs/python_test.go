package programs

import (
	"testing"

	"github.com/stele-db/stele/test/internal/target"
)

// TestPythonEtcd3 runs a session with python3-etcd3, which speaks gRPC.
func TestPythonEtcd3(t *testing.T) {
	python := debianPython(t, "etcd3", "python3-etcd3")
	for _, session := range []struct{ modes, parts []string }{
		{[]string{modeEtcd}, []string{"kv", "txn", "watch", "lease", "ttl", "lock", "cluster"}},
		{[]string{modeTTL}, []string{"kv", "txn", "watch", "ttl", "cluster"}},
	} {
		sameTranscripts(t, session.modes, func(t *testing.T, server *target.Target) string {
			return output(t, "python", python,
				append([]string{"etcd3_session.py", server.Address}, session.parts...)...)
		})
	}
}

// TestPythonEtcd3gw runs the tests of python3-etcd3gw, which speaks to the JSON gateway. The test of members expects
// peer URLs, which Stele's members do not have.
func TestPythonEtcd3gw(t *testing.T) {
	python := debianPython(t, "etcd3gw, oslotest", "python3-etcd3gw", "python3-oslotest")
	tests := func(t *testing.T, modes []string, without string) {
		sameTranscripts(t, modes, func(t *testing.T, server *target.Target) string {
			return output(t, "python", python, "etcd3gw_tests.py", server.Address, "test_client_members|"+without)
		})
	}
	t.Run("short", func(t *testing.T) {
		tests(t, []string{modeEtcd}, "watch")
		tests(t, []string{modeTTL}, "watch|lease|lock")
	})
	t.Run("watches", func(t *testing.T) {
		long(t)
		tests(t, []string{modeEtcd}, `\.test_(?!.*watch)`)
		tests(t, []string{modeTTL}, `\.test_(?!.*watch)`)
	})
}
