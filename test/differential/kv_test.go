package differential

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/stele-db/stele/test/internal/target"
)

// maxDifferences is the number of differences after which a seed fails without further requests.
const maxDifferences = 5

// requestsPerSeed makes about 20,000 requests in a run.
const requestsPerSeed = 5000

// expectedOutcomes are the outcomes that every run must have, so that a change of the generator cannot lose them.
var expectedOutcomes = []string{
	"CompactionRequest: OK",
	"CompactionRequest: etcdserver: mvcc: required revision has been compacted",
	"CompactionRequest: etcdserver: mvcc: required revision is a future revision",
	"DeleteRangeRequest: OK",
	"DeleteRangeRequest: etcdserver: key is not provided",
	"HashKVRequest: OK",
	"HashKVRequest: etcdserver: mvcc: required revision has been compacted",
	"LeaseGrantRequest: etcdserver: too large lease TTL",
	"PutRequest: OK",
	"PutRequest: etcdserver: key is not provided",
	"PutRequest: etcdserver: key not found",
	"PutRequest: etcdserver: requested lease not found",
	"PutRequest: etcdserver: value is provided",
	"RangeRequest: OK",
	"RangeRequest: etcdserver: invalid sort option",
	"RangeRequest: etcdserver: mvcc: required revision has been compacted",
	"RangeRequest: etcdserver: mvcc: required revision is a future revision",
	"RangeStream: OK",
	"RangeStream: RangeStream does not support custom sort orders",
	"RangeStream: RangeStream does not support revision filters",
	"RangeStream: etcdserver: mvcc: required revision has been compacted",
	"TxnRequest: etcdserver: duplicate key given in txn request",
	"TxnRequest: etcdserver: invalid sort option",
	"TxnRequest: etcdserver: key is not provided",
	"TxnRequest: etcdserver: key not found",
	"TxnRequest: etcdserver: mvcc: required revision has been compacted",
	"TxnRequest: etcdserver: mvcc: required revision is a future revision",
	"TxnRequest: etcdserver: requested lease not found",
	"TxnRequest: etcdserver: too many operations in txn request",
	"TxnRequest: etcdserver: value is provided",
	"TxnRequest: succeeded false",
	"TxnRequest: succeeded true",
}

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// seeds returns the seeds of this run. They come from the clock, so that every run sends other requests.
func seeds(t *testing.T, otherwise int) []uint64 {
	t.Helper()
	first := setting(t, "STELE_TEST_DIFF_SEED", int(time.Now().UnixNano()%1_000_000_000))
	list := make([]uint64, setting(t, "STELE_TEST_DIFF_SEEDS", otherwise))
	for i := range list {
		list[i] = uint64(first + i)
	}
	return list
}

// TestRequests sends the same random requests to both servers, with a kill -9 of the subject in the middle.
func TestRequests(t *testing.T) {
	count := setting(t, "STELE_TEST_DIFF_REQUESTS", requestsPerSeed)
	var compared, failed, different atomic.Int64
	var mu sync.Mutex
	outcomes := map[string]int{}
	t.Cleanup(func() {
		if count >= requestsPerSeed && !t.Failed() {
			for _, kind := range expectedOutcomes {
				if outcomes[kind] == 0 {
					t.Errorf("no request had the outcome %q", kind)
				}
			}
		}
		for _, kind := range slices.Sorted(maps.Keys(outcomes)) {
			t.Logf("%7d %s", outcomes[kind], kind)
		}
		t.Logf("requests compared: %d (%d of them refused by both), differences: %d",
			compared.Load(), failed.Load(), different.Load())
		for _, d := range deliberates {
			t.Logf("deliberate difference, not tested: %s. %s", d.name, d.reason)
		}
	})
	for _, seed := range seeds(t, 4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			run := newKVRun(t, seed)
			for i, r := range run.generator.fill() {
				run.step(t, i, r)
			}
			for i := range count {
				if i == count/2 {
					if err := run.subject.Restart(t.Context()); err != nil {
						t.Fatalf("restart: %v", err)
					}
				}
				run.step(t, i, run.generator.next())
			}
			run.sweep(t)
			compared.Add(int64(run.compared))
			failed.Add(int64(run.failed))
			different.Add(int64(run.differences))
			mu.Lock()
			defer mu.Unlock()
			for kind, n := range run.outcomes {
				outcomes[kind] += n
			}
		})
	}
}

// kvRun is the pair of servers of one seed.
type kvRun struct {
	seed               uint64
	reference, subject *target.Target
	generator          *generator
	// settled is true if etcd has deleted all that it compacted.
	settled bool

	compared, failed, differences int
	// outcomes counts the answers of the reference, by kind of request and error.
	outcomes map[string]int
}

func newKVRun(t *testing.T, seed uint64, args ...string) *kvRun {
	t.Helper()
	run := &kvRun{
		seed:      seed,
		reference: target.Reference(t, args...),
		subject:   target.Subject(t, args...),
		generator: newGenerator(seed),
		settled:   true,
		outcomes:  map[string]int{},
	}
	for i, id := range leases {
		run.step(t, i, request{message: &pb.LeaseGrantRequest{ID: id, TTL: id}})
	}
	return run
}

// step compares the answers to one request.
func (run *kvRun) step(t *testing.T, i int, r request) answer {
	t.Helper()
	if _, hash := r.message.(*pb.HashKVRequest); hash && !run.settled {
		// etcd's hash depends on the progress of its deletion of compacted revisions. A physical compaction waits for
		// that, even one that is refused.
		run.settled = true
		run.step(t, i, request{message: &pb.CompactionRequest{Revision: run.generator.compacted, Physical: true}})
	}
	reference, subject := run.both(t.Context(), r)
	run.compared++
	run.outcomes[outcome(r, reference)]++
	if reference.err != nil {
		run.failed++
		switch reference.code() {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown:
			t.Fatalf("seed %d, request %d: the reference itself failed: %s", run.seed, i,
				report(r, reference, subject, ""))
		default:
		}
	}
	if d := diff(reference, subject); d != "" {
		run.differences++
		t.Errorf("seed %d, request %d (revision %d, compacted %d): %s",
			run.seed, i, run.generator.current, run.generator.compacted, report(r, reference, subject, d))
		if run.differences >= maxDifferences {
			t.Fatalf("more than %d differences", maxDifferences-1)
		}
	}
	run.learn(r, reference)
	return reference
}

// outcome returns the kind of request and answer.
func outcome(r request, a answer) string {
	kind := string(r.message.ProtoReflect().Descriptor().Name())
	if r.stream {
		kind = "RangeStream"
	}
	switch m := a.message.(type) {
	case nil:
		return kind + ": " + a.err.Message()
	case *pb.TxnResponse:
		return fmt.Sprintf("%s: succeeded %v", kind, m.Succeeded)
	default:
		return kind + ": OK"
	}
}

// both sends a request to the two servers at the same time.
func (run *kvRun) both(ctx context.Context, r request) (reference, subject answer) {
	var wg sync.WaitGroup
	wg.Go(func() { reference = do(ctx, run.reference, r) })
	subject = do(ctx, run.subject, r)
	wg.Wait()
	return reference, subject
}

// learn updates the generator's revisions.
func (run *kvRun) learn(r request, a answer) {
	if a.err != nil {
		return
	}
	g := run.generator
	g.current = max(g.current, a.header().GetRevision())
	switch q := r.message.(type) {
	case *pb.CompactionRequest:
		g.compacted = q.Revision
		g.compactions[q.Revision] = true
		run.settled = q.Physical
	case *pb.TxnRequest:
		if mayReplace(q) {
			g.replaced[g.current] = true
		}
	}
}

// sweep reads all keys at every revision that is retained.
func (run *kvRun) sweep(t *testing.T) {
	t.Helper()
	all := []byte{0}
	from := max(run.generator.compacted, 1)
	step := max(1, (run.generator.current-from)/500)
	for revision := from; revision <= run.generator.current; revision += step {
		run.step(t, -1, request{message: &pb.RangeRequest{Key: all, RangeEnd: all, Revision: revision}})
	}
}
