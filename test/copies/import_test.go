package copies

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

const importTimeout = 2 * time.Minute

// importing is a running `stele import`.
type importing struct {
	cmd    *exec.Cmd
	out    output
	cancel context.CancelFunc
}

// output may be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// log waits until the import has printed a text.
func (i *importing) log(t *testing.T, text string) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !strings.Contains(i.out.String(), text) {
		select {
		case <-deadline.C:
			t.Fatalf("it has not printed %q:\n%s", text, i.out.String())
		case <-ticker.C:
		}
	}
}

func startImport(t *testing.T, args ...string) *importing {
	t.Helper()
	return startStele(t, append([]string{"import"}, args...)...)
}

func startStele(t *testing.T, args ...string) *importing {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), importTimeout)
	i := &importing{cancel: cancel}
	i.cmd = exec.CommandContext(ctx, stele.Binary(t, t.TempDir(), false), args...)
	i.cmd.Stdout, i.cmd.Stderr = &i.out, &i.out
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return i
}

// wait returns the output.
func (i *importing) wait() (string, error) {
	defer i.cancel()
	err := i.cmd.Wait()
	return i.out.String(), err
}

func mustImport(t *testing.T, args ...string) string {
	t.Helper()
	out, err := startImport(t, args...).wait()
	if err != nil {
		t.Fatalf("stele import %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("%s", strings.TrimSpace(out))
	return out
}

// refused runs an import that must fail with a message that contains text.
func refused(t *testing.T, text string, args ...string) {
	t.Helper()
	out, err := startImport(t, args...).wait()
	if err == nil || !strings.Contains(out, text) {
		t.Errorf("stele import %s: %v, want a refusal with %q\n%s", strings.Join(args, " "), err, text, out)
	}
}

// serve checks a copy for inconsistencies and starts a server on it.
func serve(t *testing.T, endpoint string, args ...string) *clientv3.Client {
	t.Helper()
	s := stele.Start(t, stele.Options{Endpoint: endpoint, Args: args})
	s.Check(t)
	return connect.Client(t, s.Target)
}

func file(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "state.db") }

// save makes a snapshot file.
func save(t *testing.T, client *clientv3.Client) string {
	t.Helper()
	r, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func key(i int) string { return fmt.Sprintf("key/%02d\x00\xff", i) }
