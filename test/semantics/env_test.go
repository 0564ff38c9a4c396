package semantics

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/test/internal/target"
)

// rule is one statement that holds on both servers.
type rule struct {
	name string
	test func(e *env)
}

// env is the environment of a rule. Its methods fail the test if the server refuses.
type env struct {
	*testing.T
	*target.Target
	ctx    context.Context //nolint:containedctx // an env is the arguments of one rule, which bounds all of its calls
	prefix string
}

// ruleTimeout bounds one rule.
const ruleTimeout = 60 * time.Second

// onBoth runs the rules on one server of each kind; args are added to the command lines.
func onBoth(t *testing.T, rules []rule, args ...string) {
	t.Helper()
	if !target.Variant() {
		t.Run("etcd", func(t *testing.T) {
			t.Parallel()
			runAll(t, target.Reference(t, args...), rules)
		})
	}
	t.Run("stele", func(t *testing.T) {
		t.Parallel()
		runAll(t, target.Subject(t, args...), rules)
	})
}

// onFresh runs each rule on servers of its own.
func onFresh(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if !target.Variant() {
				runAll(t, target.Reference(t), []rule{{"etcd", r.test}})
			}
			runAll(t, target.Subject(t), []rule{{"stele", r.test}})
		})
	}
}

func runAll(t *testing.T, server *target.Target, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), ruleTimeout)
			defer cancel()
			prefix := strings.ReplaceAll(r.name, " ", "-") + "/"
			r.test(&env{T: t, Target: server, ctx: ctx, prefix: prefix})
		})
	}
}

// key returns a key that only this rule uses.
func (e *env) key(name string) []byte { return []byte(e.prefix + name) }

// end returns the end of the range of all keys of this rule.
func (e *env) end() []byte {
	end := []byte(e.prefix)
	end[len(end)-1]++
	return end
}

// everything returns a request for the range of this rule's keys.
func (e *env) everything() *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(e.prefix), RangeEnd: e.end()}
}

func must[T any](e *env, answer T, err error) T {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v", err)
	}
	return answer
}

func (e *env) put(name, value string) *pb.PutResponse {
	e.Helper()
	a, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key(name), Value: []byte(value)})
	return must(e, a, err)
}

func (e *env) get(name string) *mvccpb.KeyValue {
	e.Helper()
	a := e.rangeOf(&pb.RangeRequest{Key: e.key(name)})
	if len(a.Kvs) == 0 {
		return nil
	}
	return a.Kvs[0]
}

func (e *env) rangeOf(r *pb.RangeRequest) *pb.RangeResponse {
	e.Helper()
	a, err := e.KV.Range(e.ctx, r)
	return must(e, a, err)
}

func (e *env) deleteOf(r *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	e.Helper()
	a, err := e.KV.DeleteRange(e.ctx, r)
	return must(e, a, err)
}

func (e *env) del(name string) *pb.DeleteRangeResponse {
	e.Helper()
	return e.deleteOf(&pb.DeleteRangeRequest{Key: e.key(name)})
}

func (e *env) txn(r *pb.TxnRequest) *pb.TxnResponse {
	e.Helper()
	a, err := e.KV.Txn(e.ctx, r)
	return must(e, a, err)
}

func (e *env) compact(revision int64) *pb.CompactionResponse {
	e.Helper()
	a, err := e.KV.Compact(e.ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
	return must(e, a, err)
}

// revision returns the current revision.
func (e *env) revision() int64 {
	e.Helper()
	return e.rangeOf(&pb.RangeRequest{Key: []byte("revision")}).Header.Revision
}

// await returns when condition holds, and fails the rule after its timeout.
func (e *env) await(condition func() bool) {
	e.Helper()
	for !condition() {
		select {
		case <-e.ctx.Done():
			e.Fatal(context.Cause(e.ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// isMember reports whether MemberList contains id.
func (e *env) isMember(id uint64) bool {
	e.Helper()
	a, err := e.Cluster.MemberList(e.ctx, &pb.MemberListRequest{Linearizable: true})
	return slices.ContainsFunc(must(e, a, err).Members, func(m *pb.Member) bool { return m.ID == id })
}

// refused checks that call fails with code and message, and that nothing was written.
func refused[T any](e *env, code codes.Code, message string, call func() (T, error)) {
	e.Helper()
	before := e.revision()
	_, err := call()
	if got := status.Convert(err); got.Code() != code || got.Message() != message {
		e.Errorf("%v: %q, want %v: %q", got.Code(), got.Message(), code, message)
	}
	if after := e.revision(); after != before {
		e.Errorf("a refused request took the revision from %d to %d", before, after)
	}
}

// equal checks one value.
func equal[T comparable](e *env, name string, got, want T) {
	e.Helper()
	if got != want {
		e.Errorf("%s is %v, want %v", name, got, want)
	}
}

// names returns the keys without the rule's prefix.
func (e *env) names(kvs []*mvccpb.KeyValue) string {
	var list []string
	for _, kv := range kvs {
		list = append(list, strings.TrimPrefix(string(kv.Key), e.prefix))
	}
	return strings.Join(list, " ")
}

func putOp(key []byte, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: []byte(value)}}}
}

func rangeOp(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func deleteOp(key, end []byte) *pb.RequestOp {
	return &pb.RequestOp{
		Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key, RangeEnd: end}},
	}
}

func txnOp(r *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
}

func version(key []byte, result pb.Compare_CompareResult, n int64) *pb.Compare {
	return &pb.Compare{
		Key: key, Target: pb.Compare_VERSION, Result: result, TargetUnion: &pb.Compare_Version{Version: n},
	}
}

func value(key []byte, result pb.Compare_CompareResult, v string) *pb.Compare {
	return &pb.Compare{
		Key: key, Target: pb.Compare_VALUE, Result: result, TargetUnion: &pb.Compare_Value{Value: []byte(v)},
	}
}
