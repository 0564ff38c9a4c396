package copies

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// history writes at random, using all features of etcd.
type history struct {
	t      *testing.T
	client *clientv3.Client
	rand   *rand.Rand
	leases []clientv3.LeaseID
	seed   uint64
	n      int
}

func newHistory(t *testing.T, client *clientv3.Client) *history {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &history{t: t, client: client, rand: rand.New(rand.NewPCG(seed, 1)), seed: seed}
}

const keys = 40

func (h *history) value() string {
	h.n++
	return fmt.Sprintf("value %d%s", h.n, strings.Repeat(".", h.rand.IntN(200)))
}

func (h *history) put() clientv3.Op {
	var opts []clientv3.OpOption
	if len(h.leases) > 0 && h.rand.IntN(3) == 0 {
		opts = append(opts, clientv3.WithLease(h.leases[h.rand.IntN(len(h.leases))]))
	}
	return clientv3.OpPut(key(h.rand.IntN(keys)), h.value(), opts...)
}

// write makes n write requests.
func (h *history) write(n int) {
	h.t.Helper()
	ctx := h.t.Context()
	do := func(op clientv3.Op) {
		h.t.Helper()
		if _, err := h.client.Do(ctx, op); err != nil {
			h.t.Fatal(err)
		}
	}
	for range n {
		switch h.rand.IntN(10) {
		case 0:
			do(clientv3.OpDelete(key(h.rand.IntN(keys))))
		case 1:
			from := h.rand.IntN(keys)
			do(clientv3.OpDelete(key(from), clientv3.WithRange(key(from+h.rand.IntN(4)))))
		case 2, 3:
			var ops []clientv3.Op
			for _, i := range h.rand.Perm(keys)[:1+h.rand.IntN(5)] {
				ops = append(ops, clientv3.OpPut(key(i), h.value()))
			}
			do(clientv3.OpTxn(nil, append(ops, clientv3.OpDelete("none")), nil))
		case 4:
			h.lease()
		default:
			do(h.put())
		}
	}
}

// lease grants a lease, or revokes one.
func (h *history) lease() {
	h.t.Helper()
	if len(h.leases) > 5 {
		id := h.leases[0]
		h.leases = h.leases[1:]
		must[*clientv3.LeaseRevokeResponse](h.t)(h.client.Revoke(h.t.Context(), id))
		return
	}
	granted := must[*clientv3.LeaseGrantResponse](h.t)(h.client.Grant(h.t.Context(), 1000+h.rand.Int64N(5000)))
	h.leases = append(h.leases, granted.ID)
}

func (h *history) revision() int64 {
	h.t.Helper()
	return must[*clientv3.GetResponse](h.t)(h.client.Get(h.t.Context(), "none")).Header.Revision
}

// compact compacts so that about left revisions remain.
func (h *history) compact(left int64) {
	h.t.Helper()
	if at := h.revision() - left; at > 1 {
		must[*clientv3.CompactResponse](h.t)(h.client.Compact(h.t.Context(), at, clientv3.WithCompactPhysical()))
	}
}
