package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/test/internal/port"
)

// The settings of the control plane. All others are the programs' defaults.
const (
	nodes = 50
	// eventTTL is the TTL of events. The API server adds up to a twentieth to their leases.
	eventTTL = 30 * time.Second
	// compactInterval is the interval of the API server's compactions. Each of them compacts to the revision at the
	// time of the previous one.
	compactInterval = 20 * time.Second
	// checkPeriod is the interval at which the API server compares each watch cache with the store. The API server
	// randomly extends it by up to a half.
	checkPeriod = 20 * time.Second
	// gracePeriod is the time without a heartbeat after which a node is not ready. Nodes send one every 10 s.
	gracePeriod = 40 * time.Second
	// leaseDuration is how long a dead leader keeps its Lease: the default of the programs.
	leaseDuration = 15 * time.Second
)

// cluster is a control plane on a store.
type cluster struct {
	// life is the test at whose end all programs end. The checks are its subtests.
	life  testing.TB
	store *store
	bin   string
	logs  string
	certs authority
	api   *apiServer
	// leaders has the first candidate of each program, by name. It leads until it is killed.
	leaders map[string]*program
	// address is the address of the next API server; empty means a free one. args are added to its command line.
	address string
	args    []string
	// stopping is the kwok that checkNotReady kills, so that one node stops sending heartbeats.
	stopping *program

	mu sync.Mutex
	// started has all programs, including the killed ones.
	started runs
}

// apiServer is one API server with clients of its administrator.
type apiServer struct {
	*program
	address    string
	kubeconfig string
	config     *rest.Config
	client     kubernetes.Interface
	// identity is the name of the Lease of the first API server; other API servers leave it empty.
	identity string
	begin    time.Time
	dynamic  dynamic.Interface
}

// The programs that elect a leader. Each has the name of its Lease.
const (
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
)

// newCluster prepares a control plane on s. The checks start its programs. Logs go to the directory logs.
func newCluster(t *testing.T, s *store, logs string) *cluster {
	t.Helper()
	c := &cluster{life: t, store: s, bin: programs(t), logs: logs, certs: authority{tlstest.New(t)},
		leaders: map[string]*program{}}
	c.certs.Issue(t, "service-account")
	return c
}

// binary returns the path of a program.
func (c *cluster) binary(name string) string { return filepath.Join(c.bin, name) }

// spawn starts a program whose log has the given name.
func (c *cluster) spawn(t *testing.T, name, binary string, env []string, args ...string) *program {
	t.Helper()
	p := spawn(t, c.life, c.logs, name, c.binary(binary), env, args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = append(c.started, p)
	return p
}

// startAPIServer starts the nth API server (1, 2, ...), without waiting for it.
func (c *cluster) startAPIServer(t *testing.T, n int) *apiServer {
	t.Helper()
	address := c.address
	if address == "" {
		address = port.Free(t)
	}
	name := fmt.Sprintf("kube-apiserver-%d", n)
	serving := c.certs.Issue(t, name)
	a := &apiServer{begin: time.Now(), address: address,
		kubeconfig: c.certs.client(t, name+"-admin", address, "admin", "system:masters")}
	args := []string{
		"--etcd-servers=" + c.store.urls(),
		"--bind-address=127.0.0.1", "--secure-port=" + portOf(address),
		// The API server only records this address. It refuses a loopback address.
		"--advertise-address=" + advertised(n),
		"--client-ca-file=" + serving.CAFile,
		"--tls-cert-file=" + serving.CertFile, "--tls-private-key-file=" + serving.KeyFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.certs.File("service-account.key"),
		"--service-account-signing-key-file=" + c.certs.File("service-account.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC",
		"--event-ttl=" + eventTTL.String(),
		"--etcd-compaction-interval=" + compactInterval.String(),
		"--profiling=false",
	}
	a.program = c.spawn(t, name, "kube-apiserver",
		[]string{
			"KUBE_WATCHCACHE_CONSISTENCY_CHECKER=true",
			"STELE_TEST_CHECK_PERIOD=" + checkPeriod.String(),
			"STELE_TEST_HOST=" + name,
		},
		append(args, c.args...)...)
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1 // the test stands for many clients
	a.config = config
	if a.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if a.dynamic, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return a
}

// advertised returns the address that the nth API server announces, from a block reserved for documentation.
func advertised(n int) string { return fmt.Sprintf("192.0.2.%d", n) }

// ready returns nil if the API server reports that it is ready.
func (a *apiServer) ready(ctx context.Context) error {
	if err := a.check(); err != nil {
		return stop{err}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	body, err := a.client.Discovery().RESTClient().Get().AbsPath("/readyz").Param("verbose", "").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	return nil
}

// startCandidate starts the nth candidate of controllerManager or scheduler.
func (c *cluster) startCandidate(t *testing.T, name string, n int) *program {
	t.Helper()
	address := port.Free(t)
	conf := c.certs.client(t, fmt.Sprintf("%s-%d", name, n), c.api.address, "system:"+name)
	args := []string{
		"--kubeconfig=" + conf, "--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--bind-address=127.0.0.1", "--secure-port=" + portOf(address), "--cert-dir=" + c.certs.File(""),
		"--leader-elect=true", "--leader-elect-lease-duration=" + leaseDuration.String(),
		// The client must not limit its requests, so that the checks measure the store.
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}
	if name == controllerManager {
		args = append(args,
			"--use-service-account-credentials=true",
			"--service-account-private-key-file="+c.certs.File("service-account.key"),
			"--root-ca-file="+c.certs.CAFile(),
			"--node-monitor-grace-period="+gracePeriod.String(),
		)
	}
	return c.spawn(t, fmt.Sprintf("%s-%d", name, n), name, nil, args...)
}

// startNodes starts a kwok for the nodes of a group (see createNodes). name is the end of its log's name.
func (c *cluster) startNodes(t *testing.T, name, group string) *program {
	t.Helper()
	return c.spawn(t, "kwok-"+name, "kwok", nil,
		"--kubeconfig="+c.api.kubeconfig, "--config="+c.binary("kwok-stages.yaml"),
		"--manage-all-nodes=false", "--manage-nodes-with-label-selector="+groupLabel+"="+group,
		"--node-lease-duration-seconds=40", // kwok renews a Lease every 10 s
		"--cidr=10.64.0.0/16", "--node-ip=192.0.2.100",
	)
}

// kubectl runs kubectl and returns its output.
func (c *cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	return output(ctx, c.binary("kubectl"), append([]string{"--kubeconfig", c.api.kubeconfig}, args...)...)
}

// stop is an error that ends await, because waiting cannot fix it.
type stop struct{ error }

// await calls condition until it returns nil, and returns how long that took. At the deadline it fails the test with
// the last error of condition.
func await(t testing.TB, within time.Duration, condition func(ctx context.Context) error) time.Duration {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return time.Since(begin)
		}
		// The last error says more than the deadline.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if final := (stop{}); errors.As(err, &final) {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %v", within, last)
		case <-tick.C:
		}
	}
}

// programs returns the directory of the programs. It builds them, which takes minutes the first time, unless
// STELE_TEST_KUBERNETES_BIN names a directory that has them.
func programs(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STELE_TEST_KUBERNETES_BIN")
	if dir == "" {
		var err error
		if dir, err = build(); err != nil {
			t.Fatalf("build the control plane: %v", err)
		}
	}
	return dir
}
