package programs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/target"
)

// mirrorOps is the number of random writes that a mirror sees while it runs, and mirrorBase the number of keys that are
// there before: more than the 1,000 that a mirror reads at once.
const (
	mirrorOps  = 600
	mirrorBase = 1500
)

// mirrors are the flags of `etcdctl make-mirror`, each with the key that it makes of a source's key.
var mirrors = []struct {
	args []string
	key  func(string) (string, bool)
}{
	{nil, func(k string) (string, bool) { return k, true }},
	{[]string{"--prefix=b/"}, func(k string) (string, bool) { return k, strings.HasPrefix(k, "b/") }},
	{[]string{"--prefix=b/", "--dest-prefix=moved/"}, func(k string) (string, bool) {
		rest, ok := strings.CutPrefix(k, "b/")
		return "moved/" + rest, ok
	}},
	{[]string{"--prefix=c/", "--no-dest-prefix", "--max-txn-ops=3"}, func(k string) (string, bool) {
		rest, ok := strings.CutPrefix(k, "c/")
		return rest, ok
	}},
}

// TestMakeMirror mirrors servers into each other with `etcdctl make-mirror` while random writes go on, and restarts the
// source.
func TestMakeMirror(t *testing.T) {
	t.Parallel()
	ctl := etcdctl(t)
	etcd := func(t *testing.T) *target.Target { return target.Reference(t) }
	stele := func(mode string) func(t *testing.T) *target.Target {
		return func(t *testing.T) *target.Target { return target.Stele(t, "--lease-mode="+mode) }
	}
	for _, pair := range []struct {
		name     string
		from, to func(t *testing.T) *target.Target
	}{
		{"etcd to etcd", etcd, etcd},
		{"etcd to stele", etcd, stele(modeEtcd)},
		{"stele to etcd", stele(modeEtcd), etcd},
		{"stele to stele", stele(modeTTL), stele(modeTTL)},
	} {
		t.Run(pair.name, func(t *testing.T) {
			if pair.name == "etcd to etcd" {
				long(t)
			}
			m := &mirror{source: pair.from(t), seed: 17}
			m.client = m.source.Client(t)
			m.write(t, mirrorBase)
			var copies []*clientv3.Client
			for _, flags := range mirrors {
				destination := pair.to(t)
				copies = append(copies, destination.Client(t))
				args := append([]string{"--endpoints=" + m.source.Address, "make-mirror"}, flags.args...)
				ctl.start(t, append(args, destination.Address)...)
			}
			m.write(t, mirrorOps)
			m.check(t, copies)
			if err := m.source.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.write(t, mirrorOps)
			m.check(t, copies)
		})
	}
}

// mirror is a source with random keys.
type mirror struct {
	source *target.Target
	client *clientv3.Client
	seed   uint64
}

// write puts and deletes n times: single keys, ranges, and several keys in a transaction.
func (m *mirror) write(t *testing.T, n int) {
	t.Helper()
	m.seed++
	r := rand.New(rand.NewPCG(m.seed, 1))
	key := func() string {
		return []string{"a/", "b/", "c/root/", "b/b/"}[r.IntN(4)] + fmt.Sprint(r.IntN(2*mirrorBase))
	}
	for i := range n {
		value := fmt.Sprintf("%d-%d", m.seed, i)
		op := clientv3.OpPut(key(), value)
		switch r.IntN(8) {
		case 0:
			op = clientv3.OpDelete(key())
		case 1:
			from := key()
			op = clientv3.OpDelete(from, clientv3.WithRange(from+"0"))
		case 2:
			puts := []clientv3.Op{op}
			for j := range 5 {
				name := fmt.Sprintf("%d-%d", i%50, j)
				puts = append(puts, clientv3.OpPut("c/root/"+name, value), clientv3.OpPut("b/"+name, value))
			}
			op = clientv3.OpTxn(nil, puts, nil)
		}
		if _, err := m.client.Do(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
}

// check waits until each mirror equals the source as changed by its flags.
func (m *mirror) check(t *testing.T, copies []*clientv3.Client) {
	t.Helper()
	source := contents(t, m.client)
	if len(source) < 100 {
		t.Fatalf("the source has only %d keys", len(source))
	}
	for i, flags := range mirrors {
		want := map[string]string{}
		for k, v := range source {
			if k, ok := flags.key(k); ok {
				want[k] = v
			}
		}
		within(t, toolTimeout, func() error {
			if diff := cmp.Diff(want, contents(t, copies[i])); diff != "" {
				return fmt.Errorf("make-mirror %v: the mirror differs (-want +got):\n%s", flags.args,
					diff[:min(len(diff), 2000)])
			}
			return nil
		})
	}
}

// contents returns all keys with their values.
func contents(t *testing.T, client *clientv3.Client) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	all, err := client.Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]string, len(all.Kvs))
	for _, kv := range all.Kvs {
		keys[string(kv.Key)] = string(kv.Value)
	}
	return keys
}
