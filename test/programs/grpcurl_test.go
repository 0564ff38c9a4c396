package programs

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/test/internal/target"
)

// etcdServices are the services of etcd. It does not serve reflection, so grpcurl needs their descriptors.
var etcdServices = []string{
	"etcdserverpb.Auth", "etcdserverpb.Cluster", "etcdserverpb.KV", "etcdserverpb.Lease", "etcdserverpb.Maintenance",
	"etcdserverpb.Watch", "v3electionpb.Election", "v3lockpb.Lock",
}

// protoset writes the descriptors of etcd's services, as `protoc --descriptor_set_out --include_imports` does.
func protoset(t *testing.T) string {
	t.Helper()
	var set descriptorpb.FileDescriptorSet
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		described := protodesc.ToFileDescriptorProto(file)
		for i, imported := range described.Dependency {
			found, err := protoregistry.GlobalFiles.FindFileByPath(imported)
			if err != nil {
				// etcd's files are registered without the directories by which they import each other.
				found, err = protoregistry.GlobalFiles.FindFileByPath(path.Base(imported))
			}
			if err != nil {
				t.Fatalf("%s imports %s: %v", file.Path(), imported, err)
			}
			add(found)
			described.Dependency[i] = found.Path()
		}
		set.File = append(set.File, described)
	}
	add(pb.File_rpc_proto)
	add(v3electionpb.File_v3election_proto)
	add(v3lockpb.File_v3lock_proto)
	data, err := proto.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "etcd.protoset")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestGrpcurlDescribe compares the descriptors that Stele's reflection serves to grpcurl with etcd's. The short form
// compares the services and some messages, the long form all messages of requests and responses.
func TestGrpcurlDescribe(t *testing.T) {
	t.Parallel()
	grpcurl := pinned(t, "grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	set, server := "-protoset="+protoset(t), target.Stele(t)
	ask := func(args ...string) string {
		return grpcurl.run(t, append([]string{"-plaintext", server.Address}, args...)...)
	}
	symbols := map[string]bool{}
	services := strings.Fields(ask("list"))
	for _, service := range etcdServices {
		if !strings.Contains(strings.Join(services, " ")+" ", service+" ") {
			t.Errorf("%s is not among %v", service, services)
			continue
		}
		if got, want := ask("list", service), grpcurl.run(t, set, "list", service); got != want {
			t.Errorf("list %s is\n%s\nwant\n%s", service, got, want)
		}
		symbols[service] = true
		if selection() != "all" {
			continue
		}
		description := ask("describe", service)
		for _, message := range regexp.MustCompile(`\.([a-z0-9]+pb\.\w+)`).FindAllStringSubmatch(description, -1) {
			symbols[message[1]] = true
		}
	}
	for _, more := range []string{
		"etcdserverpb.ResponseHeader", "etcdserverpb.Compare.CompareTarget", "etcdserverpb.RequestOp",
		"mvccpb.KeyValue", "mvccpb.Event", "authpb.Permission",
	} {
		symbols[more] = true
	}
	for symbol := range symbols {
		got, want := ask("describe", symbol), grpcurl.run(t, set, "describe", symbol)
		if got != want {
			t.Errorf("describe %s:\n%s\nwant\n%s", symbol, got, want)
		}
	}
	const request = "etcdserverpb.TxnRequest"
	if got, want := grpcurl.run(t, "-plaintext", "-msg-template", server.Address, "describe", request),
		grpcurl.run(t, set, "-msg-template", "describe", request); got != want ||
		!strings.Contains(got, `"compare": [`) {
		t.Errorf("the template is\n%s\nwant\n%s", got, want)
	}
	t.Logf("%d symbols", len(symbols))
}

// grpcurlCalls are requests as JSON. The answers must equal etcd's.
var grpcurlCalls = []struct{ method, request string }{
	{"etcdserverpb.KV/Put", `{"key":"YQ==","value":"MQ=="}`},
	{"etcdserverpb.KV/Put", `{"key":"YQ==","value":"Mg==","prev_kv":true}`},
	{"etcdserverpb.KV/Put", `{"value":"Mg=="}`},
	{"etcdserverpb.KV/Put", `{"key":"Yg==","lease":77}`},
	{"etcdserverpb.KV/Range", `{"key":"YQ=="}`},
	{"etcdserverpb.KV/Range", `{"key":"AA==","range_end":"AA==","limit":1,"keys_only":true}`},
	{"etcdserverpb.KV/Range", `{"key":"YQ==","revision":100}`},
	{"etcdserverpb.KV/RangeStream", `{"key":"AA==","range_end":"AA=="}`},
	{"etcdserverpb.KV/Txn", `{"compare":[{"key":"YQ==","target":"VALUE","value":"Mg=="}],
		"success":[{"request_put":{"key":"Yg==","value":"Mw=="}},{"request_range":{"key":"YQ=="}}],
		"failure":[{"request_delete_range":{"key":"YQ=="}}]}`},
	{"etcdserverpb.KV/Txn", `{"compare":[{"key":"YQ==","target":"VERSION","result":"GREATER","version":9}],
		"failure":[{"request_delete_range":{"key":"YQ==","prev_kv":true}},
			{"request_txn":{"success":[{"request_range":{"key":"Yg=="}}]}}]}`},
	{"etcdserverpb.KV/Txn", `{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}`},
	{"etcdserverpb.KV/DeleteRange", `{"key":"Yg==","prev_kv":true}`},
	{"etcdserverpb.KV/Compact", `{"revision":3}`},
	{"etcdserverpb.KV/Compact", `{"revision":3}`},
	{"etcdserverpb.KV/Range", `{"key":"YQ==","revision":2}`},
	{"etcdserverpb.Lease/LeaseGrant", `{"TTL":60,"ID":77}`},
	{"etcdserverpb.Lease/LeaseGrant", `{"TTL":60,"ID":77}`},
	{"etcdserverpb.Lease/LeaseLeases", ``},
	{"etcdserverpb.Lease/LeaseKeepAlive", `{"ID":77} {"ID":78}`},
	{"etcdserverpb.KV/Put", `{"key":"bG9jaw==","lease":77}`},
	{"etcdserverpb.Lease/LeaseTimeToLive", `{"ID":78,"keys":true}`},
	{"etcdserverpb.Lease/LeaseRevoke", `{"ID":77}`},
	{"etcdserverpb.Lease/LeaseRevoke", `{"ID":77}`},
	{"etcdserverpb.Lease/LeaseGrant", `{"TTL":60,"ID":5}`},
	{"v3lockpb.Lock/Lock", `{"name":"bXV0ZXg=","lease":5}`},
	{"v3lockpb.Lock/Unlock", `{"key":"bXV0ZXgvNQ=="}`},
	{"v3electionpb.Election/Campaign", `{"name":"cmFjZQ==","lease":5,"value":"bWU="}`},
	{"v3electionpb.Election/Leader", `{"name":"cmFjZQ=="}`},
	{"v3electionpb.Election/Leader", `{"name":"bm9uZQ=="}`},
	{"etcdserverpb.Watch/Watch",
		`{"create_request":{"key":"AA==","range_end":"AA==","start_revision":4,"prev_kv":true}}`},
	{"etcdserverpb.Watch/Watch", `{"create_request":{"key":"YQ==","start_revision":1}}`},
	{"etcdserverpb.Auth/UserAdd", `{"name":"anna","password":"secret"}`},
	{"etcdserverpb.Auth/UserAdd", `{"name":"anna","password":"secret"}`},
	{"etcdserverpb.Auth/UserList", ``},
	{"etcdserverpb.Auth/AuthEnable", ``},
	{"etcdserverpb.Auth/AuthStatus", ``},
	{"etcdserverpb.Maintenance/HashKV", ``},
	{"etcdserverpb.Maintenance/Alarm", ``},
	{"etcdserverpb.KV/Nothing", ``},
}

// TestGrpcurlCalls compares the answers to requests of grpcurl, with and without Stele's reflection, in all but the
// header's IDs.
func TestGrpcurlCalls(t *testing.T) {
	t.Parallel()
	grpcurl := pinned(t, "grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	set := "-protoset=" + protoset(t)
	var want []string
	call := func(t *testing.T, server *target.Target, flags ...string) {
		t.Helper()
		var got []string
		for _, c := range grpcurlCalls {
			limit := 30
			if strings.Contains(c.request, "create_request") {
				limit = 2 // a watch ends by its deadline
			}
			args := append([]string{"-plaintext", "-emit-defaults", fmt.Sprintf("-max-time=%d", limit)}, flags...)
			args = append(args, "-d", c.request, server.Address, c.method)
			r := grpcurl.try(t, time.Minute, args...)
			answer := fmt.Sprintf("%s %s\nexit code %d\n%s%s", c.method, c.request, r.Code, r.Out, r.Failure)
			answer = headerIDs.ReplaceAllString(answer, `"$1": N`)
			// Either end may notice the deadline first.
			const reset = "stream terminated by RST_STREAM with error code: CANCEL"
			answer = strings.ReplaceAll(answer, reset, context.DeadlineExceeded.Error())
			got = append(got, answer)
		}
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answers (-etcd +stele):\n%s", diff)
		}
	}
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) { call(t, server, set) })
	t.Run("reflection", func(t *testing.T) { call(t, target.Stele(t, "--lease-mode="+modeEtcd)) })
}

var headerIDs = regexp.MustCompile(`"(clusterId|memberId|raftTerm)": "\d+"`)
