package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/client"
	"github.com/stele-db/stele/pkg/endpoint"
	"github.com/stele-db/stele/pkg/tls"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// serve starts a datastore, which stops at the end of the test or when stop is called.
func serve(t *testing.T, config endpoint.Config) (etcd client.Config, stop func()) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	var wg sync.WaitGroup
	config.WaitGroup, config.Logger = &wg, logrus.NewEntry(log)
	ctx, cancel := context.WithCancel(context.Background())
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	etcd, err := endpoint.Listen(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	return etcd, stop
}

func connect(t *testing.T, config client.Config) client.Client {
	t.Helper()
	c, err := client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	etcd, _ := serve(t,
		endpoint.Config{Endpoint: "sqlite://" + filepath.Join(t.TempDir(), "state.db"), Listener: "tcp://127.0.0.1:0"})
	return connect(t, etcd)
}

func TestValues(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t), within(t)
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	get := func(key, data string, modified int64) {
		t.Helper()
		value, err := c.Get(ctx, key)
		if want := (client.Value{Key: []byte(key), Data: []byte(data), Modified: modified}); err != nil ||
			fmt.Sprint(value) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v; want %v", key, value, err, want)
		}
	}
	_, err := c.Get(ctx, "/a")
	check("get what is not there", err, client.ErrNotFound)
	check("create", c.Create(ctx, "/a", []byte("1")), nil)
	get("/a", "1", 2)
	check("create again", c.Create(ctx, "/a", []byte("2")), client.ErrKeyExists)
	check("update from another revision", c.Update(ctx, "/a", 1, []byte("2")), client.ErrRevision)
	check("update from no revision", c.Update(ctx, "/a", 0, []byte("2")), client.ErrRevision)
	get("/a", "1", 2)
	check("update", c.Update(ctx, "/a", 2, []byte("2")), nil)
	get("/a", "2", 3)
	check("update from an old revision", c.Update(ctx, "/a", 2, []byte("3")), client.ErrRevision)
	check("put over it", c.Put(ctx, "/a", []byte("4")), nil)
	check("put a new one", c.Put(ctx, "/b\x00", []byte{0, 0xff}), nil)
	get("/a", "4", 4)
	get("/b\x00", "\x00\xff", 5)
	check("create an empty one", c.Create(ctx, "/lock", nil), nil)
	get("/lock", "", 6)
	check("delete from another revision", c.Delete(ctx, "/lock", 5), client.ErrRevision)
	check("delete", c.Delete(ctx, "/lock", 6), nil)
	check("delete what is gone", c.Delete(ctx, "/lock", 6), client.ErrRevision)
	check("create it again", c.Create(ctx, "/lock", nil), nil)
	get("/lock", "", 8)
	check("no key", c.Put(ctx, "", nil), rpctypes.ErrEmptyKey)
	check("too large", c.Put(ctx, "/large", make([]byte, 1700<<10)), rpctypes.ErrRequestTooLarge)
}

func TestList(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t), within(t)
	for _, key := range []string{"/b/2", "/a", "/b/1", "/c", "\xff\xff", "/b"} {
		if err := c.Create(ctx, key, []byte("v"+key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Put(ctx, "/b/1", []byte("new")); err != nil { // revision 8
		t.Fatal(err)
	}
	for _, test := range []struct {
		key  string
		rev  int
		want []string
	}{
		{"/b/", 0, []string{"/b/1=new@8", "/b/2=v/b/2@2"}},
		{"/b/", 7, []string{"/b/1=v/b/1@4", "/b/2=v/b/2@2"}},
		{"/b", 0, []string{"/b=v/b@7", "/b/1=new@8", "/b/2=v/b/2@2"}},
		{"\xff", 0, []string{"\xff\xff=v\xff\xff@6"}},
		{"/d", 0, nil},
		{"", 3, []string{"/a=v/a@3", "/b/2=v/b/2@2"}},
	} {
		values, err := c.List(ctx, test.key, test.rev)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range values {
			got = append(got, fmt.Sprintf("%s=%s@%d", v.Key, v.Data, v.Modified))
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q at %d: %q, want %q", test.key, test.rev, got, test.want)
		}
	}
	if _, err := c.List(ctx, "/", 100); !errors.Is(err, rpctypes.ErrFutureRev) {
		t.Errorf("a revision to come: %v", err)
	}
	if rev, err := c.Compact(ctx, 8); err != nil || rev != 8 {
		t.Errorf("compact: revision %d, %v", rev, err)
	}
	if _, err := c.List(ctx, "/", 7); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a compacted revision: %v", err)
	}
	if _, err := c.Compact(ctx, 8); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("compact again: %v", err)
	}
}

// Programs compare these texts.
func TestTextsOfErrors(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t), within(t)
	if err := c.Create(ctx, "k", nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(ctx, "k", nil); err.Error() != "key exists" {
		t.Error(err)
	}
	if err := c.Update(ctx, "k", 7, nil); err.Error() != "revision 7 doesnt match" {
		t.Error(err)
	}
	if err := c.Delete(ctx, "k", 7); err.Error() != "revision 7 doesnt match" {
		t.Error(err)
	}
}

// Of many clients that know the same revision, only one can change it.
func TestOneOfMany(t *testing.T) {
	t.Parallel()
	c, ctx := newClient(t), within(t)
	var wg sync.WaitGroup
	outcomes := make(chan error, 20)
	for range cap(outcomes) {
		wg.Go(func() { outcomes <- c.Create(ctx, "lock", nil) })
	}
	wg.Wait()
	close(outcomes)
	won := 0
	for err := range outcomes {
		if err == nil {
			won++
		} else if !errors.Is(err, client.ErrKeyExists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d have created it", won)
	}
}

func TestConfigurationsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for want, config := range map[string]client.Config{
		"no endpoint": {},
		"empty":       {Endpoints: []string{"http://127.0.0.1:1", ""}},
		"nowhere":     {Endpoints: []string{"https://127.0.0.1:1"}, TLSConfig: tls.Config{CAFile: "nowhere"}},
	} {
		if c, err := client.New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, c, err)
		}
	}
}

// A request ends with the error of its context when the context ends, whether or not a server runs.
func TestContexts(t *testing.T) {
	t.Parallel()
	nobody := connect(t, client.Config{Endpoints: []string{"unix://" + filepath.Join(t.TempDir(), "nobody")}})
	for name, c := range map[string]client.Client{"a server": newClient(t), "nobody": nobody} {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancelLate()
		for ctx, want := range map[context.Context]error{ended: context.Canceled, late: context.DeadlineExceeded} {
			if _, err := c.Get(ctx, "k"); !errors.Is(err, want) {
				t.Errorf("%s: get: %v", name, err)
			}
			if err := c.Put(ctx, "k", nil); !errors.Is(err, want) {
				t.Errorf("%s: put: %v", name, err)
			}
			if err := c.Create(ctx, "k", nil); !errors.Is(err, want) {
				t.Errorf("%s: create: %v", name, err)
			}
			if _, err := c.Compact(ctx, 1); !errors.Is(err, want) {
				t.Errorf("%s: compact: %v", name, err)
			}
		}
	}
	// A client without a deadline also detects that no server runs.
	if _, err := nobody.Get(t.Context(), "k"); status.Code(err) != codes.Unavailable {
		t.Errorf("get: %v", err)
	}
	if err := nobody.Put(t.Context(), "k", nil); status.Code(err) != codes.Unavailable ||
		!strings.Contains(err.Error(), "nobody") {
		t.Errorf("put: %v", err)
	}
	if err := nobody.Close(); err != nil {
		t.Error(err)
	}
	if _, err := nobody.Get(t.Context(), "k"); err == nil {
		t.Error("a closed client reads")
	}
	if err := nobody.Put(t.Context(), "k", nil); err == nil {
		t.Error("a closed client writes")
	}
}

// A client may be created before its server starts, and used after the server has stopped and started again.
func TestServerComesAndGoes(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := endpoint.Config{Endpoint: "sqlite://" + dir + "/db", Listener: "unix://" + dir + "/s"}
	c := connect(t, client.Config{Endpoints: []string{config.Listener}})
	created := make(chan error, 1)
	go func() { created <- c.Create(t.Context(), "k", []byte("early")) }()
	_, stop := serve(t, config)
	if err := <-created; err != nil {
		t.Fatalf("before the server: %v", err)
	}
	stop()
	_, stop = serve(t, config)
	defer stop()
	if err := c.Put(within(t), "k", []byte("late")); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if v, err := c.Get(within(t), "k"); err != nil || string(v.Data) != "late" {
		t.Errorf("%s, %v", v.Data, err)
	}
}
