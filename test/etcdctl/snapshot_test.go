package etcdctl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// snapshotTimeout bounds one test.
const snapshotTimeout = 2 * time.Minute

func tool(t *testing.T, name string) string {
	t.Helper()
	return process.Program{Name: name, Package: "go.etcd.io/etcd/" + name + "/v3", Dir: "."}.Binary(t, t.TempDir())
}

// call runs a program that must succeed, and returns its standard output.
func call(ctx context.Context, t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s%s", filepath.Base(program), args, err, out.String(), failure.String())
	}
	return out.String()
}

// TestSnapshot writes a random history, saves it with etcdctl, restores it with etcdutl, and compares the restored etcd
// with Stele: in both lease modes, with and without a compaction.
func TestSnapshot(t *testing.T) {
	etcdutl, etcdctl := tool(t, "etcdutl"), tool(t, "etcdctl")
	for _, mode := range []string{"ttl", "etcd"} {
		for _, compacted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, compacted %v", mode, compacted), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), snapshotTimeout)
				defer cancel()
				server := target.Stele(t, "--lease-mode="+mode)
				h := history{T: t, ctx: ctx, Target: server, r: rand.New(rand.NewPCG(7, 11)), mode: mode}
				h.grant()
				h.write(150)
				if compacted {
					h.compact()
					h.write(50)
				}
				path := filepath.Join(t.TempDir(), "snapshot.db")
				call(ctx, t, etcdctl, "--endpoints", server.Address, "snapshot", "save", path)
				h.compare(etcdutl, path)
			})
		}
	}
}

// history writes to a server at random.
type history struct {
	*testing.T
	*target.Target
	ctx  context.Context //nolint:containedctx // a history is the arguments of one test
	r    *rand.Rand
	mode string

	revision, compacted int64
	leases              []int64
}

func must[T any](t *testing.T, answer T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// grant grants leases, one of them without keys; in mode ttl a TTL is a lease.
func (h *history) grant() {
	if h.mode == "ttl" {
		h.leases = []int64{1000, 2000, 86400}
		return
	}
	for _, ttl := range []int64{600, 3600, 86400} {
		a, err := h.Lease.LeaseGrant(h.ctx, &pb.LeaseGrantRequest{TTL: ttl, ID: h.r.Int64()})
		h.leases = append(h.leases, must(h.T, a, err).ID)
	}
}

func (h *history) key() []byte { return fmt.Appendf([]byte{0xff}, "%d\x00", h.r.IntN(40)) }

func (h *history) put() *pb.PutRequest {
	r := &pb.PutRequest{Key: h.key(), Value: make([]byte, h.r.IntN(300))}
	for i := range r.Value {
		r.Value[i] = byte(h.r.Int())
	}
	if len(h.leases) > 1 && h.r.IntN(4) == 0 {
		r.Lease = h.leases[h.r.IntN(len(h.leases)-1)]
	}
	return r
}

func (h *history) write(requests int) {
	h.Helper()
	for range requests {
		switch n := h.r.IntN(10); {
		case n < 6:
			a, err := h.KV.Put(h.ctx, h.put())
			h.revision = must(h.T, a, err).Header.Revision
		case n < 8:
			key := h.key()
			end := append(bytes.Clone(key[:2]), ':')
			if key[1] == '1' {
				end = nil
			}
			a, err := h.KV.DeleteRange(h.ctx, &pb.DeleteRangeRequest{Key: key, RangeEnd: end})
			h.revision = must(h.T, a, err).Header.Revision
		default:
			r := &pb.TxnRequest{}
			keys := map[string]bool{}
			for range 1 + h.r.IntN(8) {
				p := h.put()
				if !keys[string(p.Key)] {
					r.Success = append(r.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: p}})
				}
				keys[string(p.Key)] = true
			}
			a, err := h.KV.Txn(h.ctx, r)
			h.revision = must(h.T, a, err).Header.Revision
		}
	}
}

func (h *history) compact() {
	h.Helper()
	h.compacted = h.revision - 20
	a, err := h.KV.Compact(h.ctx, &pb.CompactionRequest{Revision: h.compacted, Physical: true})
	must(h.T, a, err)
}

// compare restores a snapshot of the server into an etcd.
func (h *history) compare(etcdutl, path string) {
	h.Helper()
	status := struct {
		Revision int64
		TotalKey int
		Version  string
	}{}
	if err := json.Unmarshal([]byte(call(h.ctx, h.T, etcdutl, "snapshot", "status", path, "--write-out=json")),
		&status); err != nil {
		h.Fatal(err)
	}
	current := h.rangeAll(h.Target, 0)
	if status.Revision != h.revision || status.TotalKey != len(current.Kvs) || status.Version != "3.7.0" {
		h.Errorf("snapshot status %+v: revision %d, %d keys", status, h.revision, len(current.Kvs))
	}

	dir := filepath.Join(h.TempDir(), "restored")
	call(h.ctx, h.T, etcdutl, "snapshot", "restore", path, "--data-dir", dir)
	e := etcd.Start(h.T, etcd.Options{Dir: dir})
	restored := target.Of(h.T, "etcd", e.Target, e)

	for revision := max(h.compacted, 1); revision <= h.revision; revision++ {
		if want, got := h.rangeAll(h.Target, revision), h.rangeAll(restored, revision); !proto.Equal(want, got) {
			h.Fatalf("at revision %d (-stele +etcd):\n%s", revision, cmp.Diff(want, got, protocmp.Transform()))
		}
		if revision%7 != 0 && revision != h.revision {
			continue
		}
		if got, want := h.hash(restored, revision), h.hash(h.Target, revision); got != want {
			h.Errorf("at revision %d the hash of etcd is %x, and of stele %x", revision, got, want)
		}
	}
	if h.compacted > 0 {
		if _, err := restored.KV.Range(h.ctx, &pb.RangeRequest{Key: []byte{0}, Revision: h.compacted - 1}); err == nil {
			h.Error("a compacted revision can be read")
		}
	}
	h.compareLeases(restored)
	a, err := restored.KV.Put(h.ctx, &pb.PutRequest{Key: []byte("next")})
	if got := must(h.T, a, err).Header.Revision; got != h.revision+1 {
		h.Errorf("the next revision is %d, after %d", got, h.revision)
	}
}

func (h *history) rangeAll(server *target.Target, revision int64) *pb.RangeResponse {
	h.Helper()
	a, err := server.KV.Range(h.ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: revision})
	must(h.T, a, err).Header = nil
	return a
}

func (h *history) hash(server *target.Target, revision int64) uint32 {
	h.Helper()
	a, err := server.Maintenance.HashKV(h.ctx, &pb.HashKVRequest{Revision: revision})
	want := h.compacted
	if want == 0 {
		want = -1
	}
	if must(h.T, a, err).CompactRevision != want {
		h.Errorf("%s: compact revision %d, want %d", server.Name, a.CompactRevision, want)
	}
	return a.Hash
}

// compareLeases compares the leases of the keys, and the remaining TTL of each lease.
func (h *history) compareLeases(restored *target.Target) {
	h.Helper()
	leased := map[int64][]string{}
	for _, kv := range h.rangeAll(h.Target, 0).Kvs {
		if kv.Lease != 0 {
			leased[kv.Lease] = append(leased[kv.Lease], string(kv.Key))
		}
	}
	if len(h.leases) > 0 && len(leased) == 0 {
		h.Fatal("no key has a lease")
	}
	if h.mode == "etcd" { // leases without keys exist too
		for _, id := range h.leases {
			leased[id] = append([]string(nil), leased[id]...)
		}
	}
	for id, keys := range leased {
		a, err := restored.Lease.LeaseTimeToLive(h.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
		must(h.T, a, err)
		got := make([]string, 0, len(a.Keys))
		for _, key := range a.Keys {
			got = append(got, string(key))
		}
		if diff := cmp.Diff(keys, slices.Sorted(slices.Values(got)), cmpopts.EquateEmpty()); diff != "" {
			h.Errorf("the keys of lease %d (-stele +etcd):\n%s", id, diff)
		}
		granted := id
		if h.mode == "etcd" {
			b, err := h.Lease.LeaseTimeToLive(h.ctx, &pb.LeaseTimeToLiveRequest{ID: id})
			granted = must(h.T, b, err).GrantedTTL
		}
		if a.GrantedTTL != granted || a.TTL > granted || a.TTL < granted-60 {
			h.Errorf("lease %d has %d of %d s left, of %d", id, a.TTL, a.GrantedTTL, granted)
		}
	}
	a, err := restored.Lease.LeaseLeases(h.ctx, &pb.LeaseLeasesRequest{})
	if got := len(must(h.T, a, err).Leases); got != len(leased) {
		h.Errorf("%d leases, want %d", got, len(leased))
	}
}

// TestSnapshotNeedsRoom checks a snapshot without a directory for temporary files.
func TestSnapshotNeedsRoom(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), snapshotTimeout)
	defer cancel()
	s := stele.Start(t, stele.Options{Env: []string{"TMPDIR=" + filepath.Join(t.TempDir(), "missing")}})
	path := filepath.Join(t.TempDir(), "snapshot.db")
	out, err := exec.CommandContext(ctx, tool(t, "etcdctl"), "--endpoints", s.Target, "snapshot", "save",
		path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no room for the temporary file") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the snapshot succeeded")
	}
}

// TestExport compares the output of `stele export` with a running server.
func TestExport(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), snapshotTimeout)
	defer cancel()
	endpoint := stele.Database(t, t.TempDir())
	s := stele.Start(t, stele.Options{Endpoint: endpoint})
	server := target.Of(t, "stele", s.Target, s)
	h := history{T: t, ctx: ctx, Target: server, r: rand.New(rand.NewPCG(3, 5)), mode: "ttl"}
	h.write(100)
	h.compact()
	h.write(50)
	path := filepath.Join(t.TempDir(), "snapshot.db")
	out := call(ctx, t, stele.Binary(t, t.TempDir(), false), "export", "--endpoint", endpoint, path)
	if want := fmt.Sprintf("revision %d", h.revision); !strings.Contains(out, want) {
		t.Errorf("%q does not contain %q", out, want)
	}
	h.compare(tool(t, "etcdutl"), path)
}
