package programs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/port"
	"github.com/stele-db/stele/test/internal/target"
)

// proxy is a running `etcd grpc-proxy`.
type proxy struct {
	*job
	address string
}

// startProxy starts a proxy of server and waits until it answers.
func startProxy(t *testing.T, etcd tool, server *target.Target, args ...string) *proxy {
	t.Helper()
	p := &proxy{address: port.Free(t)}
	args = append([]string{
		"grpc-proxy", "start", "--endpoints=" + strings.Join(server.Addresses, ","), "--listen-addr=" + p.address,
		"--advertise-client-url=" + p.address, "--data-dir=" + t.TempDir(),
	}, args...)
	p.job = etcd.start(t, args...)
	within(t, toolTimeout, func() error {
		health, err := httpGet(t, p.address, "/proxy/health")
		if err == nil && !strings.Contains(health, `"health":"true"`) {
			err = fmt.Errorf("the proxy's health is %s", health)
		}
		return err
	})
	return p
}

// metric returns a metric of the proxy.
func (p *proxy) metric(t *testing.T, name string) (float64, error) {
	t.Helper()
	text, err := httpGet(t, p.address, "/proxy/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("the proxy has no metric %s", name)
}

func httpGet(t *testing.T, address, path string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// proxySession are calls of etcdctl, each with a feature that the server or the proxy's flags may lack.
var proxySession = []struct{ args, feature string }{
	{args: "put a 1"},
	{args: "put a 2 --prev-kv"},
	{args: "put b 1"},
	{args: "get a --write-out=json"},
	{args: "get a --consistency=s"},
	{args: "get a --rev=2"},
	{args: "get a --rev=99"},
	{args: "get a z --limit=1 --sort-by=MODIFY --order=DESCEND"},
	{args: "get --prefix a --count-only --write-out=fields"},
	{args: "del b --prev-kv"},
	{args: "del missing"},
	{args: "get b"},
	{args: "put missing --ignore-value"},
	{args: "put a 3 --lease=7fffffffffffffff"},
	{args: "compaction 3"},
	{args: "compaction 3"},
	{args: "get a --rev=2"},
	{args: "endpoint hashkv", feature: hashes},
	{args: "endpoint health"},
	{args: "alarm list"},
	{args: "member list"},
	{args: "user add root:pass"},
	{args: "user grant-role root root"},
	{args: "role add reader"},
	{args: "role grant-permission reader read a"},
	{args: "user add alice:pass"},
	{args: "user grant-role alice reader"},
	{args: "auth enable"},
	{args: "get a"},
	{args: "get a --user=alice:pass"},
	{args: "get b --user=alice:pass"},
	{args: "put a 9 --user=alice:pass"},
	{args: "put a 9 --user=root:pass"},
	{args: "get a --user=alice:wrong"},
	{args: "auth disable --user=root:pass"},
	{args: "get a"},
	{args: "lease grant 60 --write-out=fields", feature: leases},
	{args: "lease list", feature: leases},
	{args: "lease timetolive 123", feature: leases},
	{args: "lease revoke 123", feature: leases},
	{args: "lock mutex echo held", feature: leases},
	{args: "get --prefix mutex", feature: leases},
}

// The features of proxySession: leases as etcd has them, and keys that are the same on every server.
const (
	leases = "leases"
	hashes = "hashes"
)

// unequal are the parts that differ between two servers.
var unequal = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`(?m)^{"level":.*\n`), ""},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`"(cluster_id|member_id|raft_term)":\d+`), `"$1":N`},
	{regexp.MustCompile(`"(ClusterID|MemberID|RaftTerm|ID)" : \d+`), `"$1" : N`},
	{regexp.MustCompile(`\b[0-9a-f]{13,16}\b`), "ID"},
	{regexp.MustCompile(`took = [0-9.]+[mµ]?s`), "took TIME"},
}

// TestProxySession compares the output of etcdctl through a proxy of etcd and of Stele.
func TestProxySession(t *testing.T) {
	t.Parallel()
	etcd, ctl := etcdProgram(t), etcdctl(t)
	for name, flags := range map[string][]string{
		"plain":     nil,
		"namespace": {"--namespace=some/where/", "--endpoints-auto-sync-interval=1s"},
		"leasing":   {"--experimental-leasing-prefix=leasing/", "--experimental-serializable-ordering"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "namespace" {
				long(t)
			}
			var want []string
			onEach(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) {
				var lacks []string
				if strings.HasSuffix(t.Name(), modeTTL) {
					lacks = append(lacks, leases)
				}
				if name == "leasing" {
					// The proxy writes keys that are named after the client's keys.
					lacks = append(lacks, hashes)
				}
				got := session(t, ctl, startProxy(t, etcd, server, flags...).address, lacks)
				if want == nil {
					want = got
				}
				if diff := cmp.Diff(want[:len(got)], got); diff != "" {
					t.Errorf("answers (-etcd +stele):\n%s", diff)
				}
			})
		})
	}
}

// session returns the answers to the calls of proxySession whose feature is not among those that it lacks.
func session(t *testing.T, ctl tool, address string, lacks []string) []string {
	t.Helper()
	var answers []string
	for _, c := range proxySession {
		if slices.Contains(lacks, c.feature) {
			continue
		}
		r := ctl.try(t, toolTimeout, append([]string{"--endpoints=" + address}, strings.Fields(c.args)...)...)
		answer := fmt.Sprintf("%s\n%s%sexit code %d", c.args, r.Out, r.Failure, r.Code)
		for _, u := range unequal {
			answer = u.pattern.ReplaceAllString(answer, u.by)
		}
		answers = append(answers, answer)
	}
	return answers
}

// TestProxyNamespace checks that a proxy with a namespace changes the keys of puts, watches and locks.
func TestProxyNamespace(t *testing.T) {
	t.Parallel()
	etcd, ctl := etcdProgram(t), etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		p := startProxy(t, etcd, server, "--namespace=space/")
		watch := ctl.start(t, "--endpoints="+p.address, "watch", "--prefix", "k", "--rev=1")
		ctl.run(t, "--endpoints="+p.address, "put", "k1", "inside")
		ctl.run(t, "--endpoints="+server.Address, "put", "k2", "outside")
		ctl.run(t, "--endpoints="+server.Address, "put", "space/k3", "inside")
		if out := watch.awaitOut(t, toolTimeout, "k3"); out != "PUT\nk1\ninside\nPUT\nk3\ninside\n" {
			t.Errorf("the watcher printed %q", out)
		}
		holder := ctl.start(t, "--endpoints="+p.address, "lock", "mutex")
		holder.awaitOut(t, toolTimeout, "mutex/")
		if out := ctl.run(t, "--endpoints="+server.Address, "get", "--prefix", "--keys-only", ""); !regexp.MustCompile(
			`^k2\n\nspace/k1\n\nspace/k3\n\nspace/mutex/[0-9a-f]+\n\n$`).MatchString(out) {
			t.Errorf("keys: %q", out)
		}
		if code := holder.interrupt(t); code != 0 {
			t.Errorf("exit code %d of the lock's holder", code)
		}
	})
}

// TestProxyRegistration registers two proxies below a prefix: one leaves, and the server restarts.
func TestProxyRegistration(t *testing.T) {
	t.Parallel()
	etcd, ctl := etcdProgram(t), etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		flags := []string{"--resolver-prefix=proxies", "--resolver-ttl=2"}
		one, two := startProxy(t, etcd, server, flags...), startProxy(t, etcd, server, flags...)
		members := func(of *proxy, want ...string) error {
			list := ctl.run(t, "--endpoints="+of.address, "member", "list")
			var got []string
			for line := range strings.Lines(list) {
				got = append(got, strings.Split(line, ", ")[4])
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s lists %v, want %v", of.address, got, want)
			}
			return nil
		}
		both := func() error {
			for _, p := range []*proxy{one, two} {
				if err := members(p, one.address, two.address); err != nil {
					return err
				}
			}
			return nil
		}
		within(t, toolTimeout, both)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		holds(t, 4*time.Second, both)
		two.kill()
		within(t, toolTimeout, func() error { return members(one, one.address) })
		registered := ctl.run(t, "--endpoints="+server.Address, "get", "--prefix", "--keys-only", "proxies")
		if registered != "proxies/"+one.address+"\n\n" {
			t.Errorf("registered: %q", registered)
		}
	})
}

// TestProxyHolder holds a lock and a lease through a proxy while the server behind it restarts.
func TestProxyHolder(t *testing.T) {
	t.Parallel()
	etcd, ctl := etcdProgram(t), etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		p := startProxy(t, etcd, server)
		endpoint := "--endpoints=" + p.address
		holder := ctl.start(t, endpoint, "lock", "mutex", "--ttl=3")
		holder.awaitOut(t, toolTimeout, "mutex/")
		next := ctl.start(t, endpoint, "lock", "mutex", "--ttl=3")
		awaitKeys(t, ctl, endpoint, "mutex/", 2)
		alive := func() error {
			select {
			case <-holder.exited:
				return fmt.Errorf("the holder lost its lock: %s", holder.failure.String())
			default:
			}
			if next.out.String() != "" {
				return fmt.Errorf("two holders")
			}
			return nil
		}
		holds(t, 4*time.Second, alive)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		holds(t, 5*time.Second, alive)
		if code := holder.interrupt(t); code != 0 {
			t.Errorf("exit code %d of the holder", code)
		}
		next.awaitOut(t, toolTimeout, "mutex/")
	})
}

// TestProxyCoalescing checks that watchers of one range share a watcher of the server, and that all of them see all
// events.
func TestProxyCoalescing(t *testing.T) {
	t.Parallel()
	const watchers, puts = 20, 50
	etcd := etcdProgram(t)
	onEach(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) {
		p := startProxy(t, etcd, server)
		ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
		defer cancel()
		direct := server.Client(t)
		var channels []clientv3.WatchChan
		for range watchers {
			w := clientv3.NewWatcher(connect.Client(t, p.address))
			t.Cleanup(func() { _ = w.Close() })
			ch := w.Watch(ctx, "k", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			<-ch
			channels = append(channels, ch)
		}
		var want []string
		for i := range puts {
			put, err := direct.Put(ctx, fmt.Sprintf("k%d", i%7), strconv.Itoa(i))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%d k%d=%d", put.Header.Revision, i%7, i))
		}
		for i, ch := range channels {
			var got []string
			for len(got) < puts {
				r, ok := <-ch
				if !ok || r.Err() != nil {
					t.Fatalf("watcher %d: %v after %v", i, r.Err(), got)
				}
				for _, e := range r.Events {
					got = append(got, fmt.Sprintf("%d %s=%s", e.Kv.ModRevision, e.Kv.Key, e.Kv.Value))
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("watcher %d (-want +got):\n%s", i, diff)
			}
		}
		within(t, toolTimeout, func() error {
			// The proxy's count of shared watchers is wrong, and becomes negative. Its count of events is right.
			shared, err := p.metric(t, "etcd_grpc_proxy_events_coalescing_total")
			if err == nil && shared < puts {
				err = fmt.Errorf("%v of %d events were shared", shared, puts*watchers)
			}
			return err
		})
	})
}
