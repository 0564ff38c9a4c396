package programs

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stele-db/stele/test/internal/target"
)

// sameTranscripts runs a session on an etcd, and on a Stele for each of the lease modes. The sessions must return the
// same text.
func sameTranscripts(t *testing.T, modes []string, session func(t *testing.T, server *target.Target) string) {
	t.Helper()
	var want string
	onEach(t, modes, func(t *testing.T, server *target.Target) {
		got := session(t, server)
		if server.Name == "etcd" {
			want = got
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the session differs from that on etcd (-etcd +stele):\n%s", diff)
		}
	})
}

// output runs a program for at most two minutes and returns its standard output. The test fails if the program does.
func output(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var stderr []byte
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = exit.Stderr
		}
		t.Fatalf("%s %v: %v\n%s%s", program, args, err, out, stderr)
	}
	return string(out)
}
