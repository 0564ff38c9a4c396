package endpoint

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/pkg/client"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

func logTo(w io.Writer) *logrus.Entry {
	log := logrus.New()
	log.SetOutput(w)
	return logrus.NewEntry(log)
}

// output collects the output of a log.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// shortDir returns a directory whose path is short enough for a socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// started is a datastore under test.
type started struct {
	t *testing.T
	ETCDConfig
	cancel context.CancelFunc
	wg     *sync.WaitGroup
}

// start calls Listen and stops the datastore at the end of the test. It uses a new file and a new socket unless config
// names them.
func start(t *testing.T, config Config) *started {
	t.Helper()
	s, err := tryStart(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryStart(t *testing.T, config Config) (*started, error) {
	t.Helper()
	if config.Endpoint == "" {
		config.Endpoint = "sqlite://" + filepath.Join(t.TempDir(), "state.db")
	}
	if config.Listener == "" {
		config.Listener = "unix://" + filepath.Join(shortDir(t), "s")
	}
	if config.Logger == nil {
		config.Logger = logTo(t.Output())
	}
	s := &started{t: t, wg: &sync.WaitGroup{}}
	config.WaitGroup = s.wg
	ctx, cancel := context.WithCancel(context.Background()) // t.Context ends before the cleanups run
	s.cancel = cancel
	var err error
	if s.ETCDConfig, err = Listen(ctx, config); err != nil {
		cancel()
		s.stopped()
		return nil, err
	}
	t.Cleanup(s.stop)
	return s, nil
}

// stop cancels the context and waits until the datastore has stopped.
func (s *started) stop() {
	s.cancel()
	s.stopped()
}

func (s *started) stopped() {
	s.t.Helper()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		s.t.Fatal("has not stopped")
	}
}

func (s *started) client() client.Client {
	s.t.Helper()
	return clientOf(s.t, s.ETCDConfig)
}

func clientOf(t *testing.T, config ETCDConfig) client.Client {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// put writes a value and reads it back.
func put(t *testing.T, c client.Client, key, value string) {
	t.Helper()
	if err := c.Put(within(t), key, []byte(value)); err != nil {
		t.Fatal(err)
	}
	want(t, c, key, value)
}

func want(t *testing.T, c client.Client, key, value string) {
	t.Helper()
	got, err := c.Get(within(t), key)
	if err != nil || string(got.Data) != value {
		t.Fatalf("%s: %q, %v; want %q", key, got.Data, err, value)
	}
}
