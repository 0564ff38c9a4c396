package apiserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/etcd3/metrics"
	"k8s.io/apiserver/pkg/storage/etcd3/preflight"
	"k8s.io/apiserver/pkg/storage/etcd3/testing/testingcert"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/stele-db/stele/test/apiserver/internal/server"
)

// TestBackend creates the storage as the API server does: from a configuration, with checks and metrics.
func TestBackend(t *testing.T) {
	t.Run("TLS", testTLS)
	t.Run("Checks", testChecks)
	t.Run("Size", testSize)
	t.Run("Preflight", testPreflight)
	t.Run("HTTPHealth", testHTTPHealth)
	t.Run("Compaction", testBackendCompaction)
}

// backendConfig is the API server's default configuration for a server, without compactions.
func backendConfig(s *server.Server) storagebackend.Config {
	config := storagebackend.NewDefaultConfig("/registry", newCodec())
	config.Transport.ServerList = s.Endpoints
	config.CompactionInterval = 0
	return *config
}

// newBackend makes a storage for pods as the API server does.
func newBackend(t *testing.T, config storagebackend.Config) storage.Interface {
	t.Helper()
	store, destroy, err := factory.Create(*config.ForResource(pods), newPod, newPodList, podPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(destroy)
	return store
}

// createPod creates a pod and returns it as it was stored.
func createPod(t *testing.T, store storage.Interface, name string) *example.Pod {
	t.Helper()
	out := &example.Pod{}
	pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := store.Create(t.Context(), podPrefix+"default/"+name, pod, out, 0); err != nil {
		t.Fatal(err)
	}
	return out
}

// next returns the next event of a watch.
func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case event, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch has ended")
		}
		return event
	case <-time.After(30 * time.Second):
		t.Fatal("no event in 30 s")
	}
	return watch.Event{}
}

func testTLS(t *testing.T) {
	files := &server.TLS{}
	dir := t.TempDir()
	for _, file := range []struct {
		path    *string
		content string
	}{
		{&files.CertFile, testingcert.CertFileContent},
		{&files.KeyFile, testingcert.KeyFileContent},
		{&files.CAFile, testingcert.CAFileContent},
	} {
		f, err := os.CreateTemp(dir, "*.pem")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, strings.TrimSpace(file.content)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		*file.path = filepath.Clean(f.Name())
	}
	config := backendConfig(server.Start(t, server.Options{TLS: files}))
	config.Transport.CertFile, config.Transport.KeyFile = files.CertFile, files.KeyFile
	config.Transport.TrustedCAFile = files.CAFile
	store := newBackend(t, config)
	w, err := store.Watch(t.Context(), podPrefix, storage.ListOptions{
		ResourceVersion: "1", Predicate: storage.Everything, Recursive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	created := createPod(t, store, "pod")
	//nolint:forcetypeassert // a watch of pods
	if event := next(t, w); event.Type != watch.Added ||
		event.Object.(metav1.Object).GetResourceVersion() != created.ResourceVersion {
		t.Errorf("watched %v of %v, want %v added", event.Type, event.Object, created)
	}
}

// testChecks expects the checks to succeed, to fail in time after a kill, and to succeed after a restart.
func testChecks(t *testing.T) {
	s := server.Start(t, server.Options{})
	stop := make(chan struct{})
	defer close(stop)
	config := backendConfig(s)
	checks := map[string]func() error{}
	for name, create := range map[string]func(storagebackend.Config, <-chan struct{}) (func() error, error){
		"health": factory.CreateHealthCheck, "ready": factory.CreateReadyCheck,
	} {
		check, err := create(config, stop)
		if err != nil {
			t.Fatal(err)
		}
		checks[name] = check
	}
	prober, err := factory.CreateProber(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = prober.Close() }()
	checks["probe"] = func() error {
		ctx, cancel := context.WithTimeout(t.Context(), storagebackend.DefaultHealthcheckTimeout)
		defer cancel()
		return prober.Probe(ctx)
	}
	all := func(what string, well bool) {
		for name, check := range checks {
			await(t, name+" "+what, func() bool {
				start := time.Now()
				err := check()
				if took := time.Since(start); took > 2*storagebackend.DefaultHealthcheckTimeout {
					t.Errorf("the check of %s took %v", name, took)
				}
				return (err == nil) == well
			})
		}
	}
	all("succeeds", true)
	s.Kill()
	all("fails without a server", false)
	s.Launch()
	all("succeeds again", true)
}

// testSize checks that the API server's monitor and its metric report the size of the database.
func testSize(t *testing.T) {
	config := backendConfig(server.Start(t, server.Options{}))
	createPod(t, newBackend(t, config), "pod")
	monitor, err := factory.CreateMonitor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = monitor.Close() }()
	if got, err := monitor.Monitor(t.Context()); err != nil || got.Size <= 0 {
		t.Errorf("the monitor tells a size of %d, %v", got.Size, err)
	}

	metrics.Register()
	metrics.SetStorageMonitorGetter(func() ([]metrics.Monitor, error) {
		monitor, err := factory.CreateMonitor(config)
		return []metrics.Monitor{monitor}, err
	})
	t.Cleanup(func() {
		metrics.SetStorageMonitorGetter(func() ([]metrics.Monitor, error) { return nil, nil })
	})
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "apiserver_storage_size_bytes" {
			if sizes := family.GetMetric(); len(sizes) != 1 ||
				sizes[0].GetGauge().GetValue()+sizes[0].GetUntyped().GetValue() <= 0 {
				t.Errorf("the metric tells %v", sizes)
			}
			return
		}
	}
	t.Error("there is no metric of the size")
}

func testPreflight(t *testing.T) {
	s := server.Start(t, server.Options{})
	if ok, err := (preflight.EtcdConnection{ServerList: s.Endpoints}).CheckEtcdServers(); !ok || err != nil {
		t.Errorf("the server is there: %v, %v; want true", ok, err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := (preflight.EtcdConnection{ServerList: []string{gone}}).CheckEtcdServers(); ok || err != nil {
		t.Errorf("a server that is not there: %v, %v; want false", ok, err)
	}
}

// testHTTPHealth checks /health with the API server's code.
func testHTTPHealth(t *testing.T) {
	for _, url := range server.Start(t, server.Options{}).Endpoints {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/health", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := etcd3.EtcdHealthCheck(text); err != nil {
			t.Errorf("%s/health answers %s: %v", url, text, err)
		}
	}
}

// testBackendCompaction makes the API server compact every second. Older revisions must then be expired, and the latest
// must not.
func testBackendCompaction(t *testing.T) {
	config := backendConfig(server.Start(t, server.Options{}))
	config.CompactionInterval = time.Second
	store := newBackend(t, config)
	old := createPod(t, store, "old")
	list := func(revision string) error {
		return store.GetList(t.Context(), podPrefix, storage.ListOptions{
			ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact,
			Predicate: storage.Everything, Recursive: true,
		}, &example.PodList{})
	}
	if err := list(old.ResourceVersion); err != nil {
		t.Fatalf("before the compaction: %v", err)
	}
	createPod(t, store, "new")
	await(t, "the old revision is compacted", func() bool {
		err := list(old.ResourceVersion)
		if err != nil && !apierrors.IsResourceExpired(err) {
			t.Fatalf("a list at revision %s: %v", old.ResourceVersion, err)
		}
		return err != nil
	})
	w, err := store.Watch(t.Context(), podPrefix, storage.ListOptions{
		ResourceVersion: old.ResourceVersion, Predicate: storage.Everything, Recursive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if event := next(t, w); event.Type != watch.Error ||
		!apierrors.IsResourceExpired(apierrors.FromObject(event.Object)) {
		t.Errorf("a watch from revision %s begins with %v: %v, want an error: expired", old.ResourceVersion,
			event.Type, event.Object)
	}
	latest, err := store.GetCurrentResourceVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pods := &example.PodList{}
	if err := store.GetList(t.Context(), podPrefix, storage.ListOptions{Predicate: storage.Everything, Recursive: true},
		pods); err != nil || len(pods.Items) != 2 {
		t.Errorf("a list at revision %d or later: %d pods, %v; want 2", latest, len(pods.Items), err)
	}
}
