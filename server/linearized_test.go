//go:build !memlog

package server

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
)

// behind returns the store of one replica, and a connection to another replica on the same log. The second replica
// applies entries of the first one only when a request needs them.
func behind(t *testing.T, mode logstructured.LeaseMode) (ahead *logstructured.Store, conn *grpc.ClientConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	var stores []*logstructured.Store
	for range 2 {
		store, stop := startStoreOn(t, openFile(t, path),
			logstructured.Options{LeaseMode: mode, PollInterval: time.Hour})
		t.Cleanup(stop)
		stores = append(stores, store)
	}
	return stores[0], serveStore(t, stores[1], nil).dial(t)
}

func putThrough(t *testing.T, store *logstructured.Store) int64 {
	t.Helper()
	result, err := store.Put(within(t), logstructured.Unguarded,
		&logstructured.PutRequest{Key: key, Value: []byte("value")})
	if err != nil {
		t.Fatal(err)
	}
	return int64(result.Revision)
}

// ask sends a request to a method ("etcdserverpb.KV/Range") and returns its first response.
func ask(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method string, request proto.Message) (proto.Message,
	error) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+method)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(request); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	answer := answerTo(t, method)
	return answer, stream.RecvMsg(answer)
}

// answerTo returns an empty response of a method.
func answerTo(t *testing.T, method string) proto.Message {
	t.Helper()
	service, name := filepath.Split(method)
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(filepath.Clean(service)))
	if err != nil {
		t.Fatal(err)
	}
	output := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name)).Output()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(output.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}

// methodRequest is a request to a method.
type methodRequest struct {
	method  string
	request proto.Message
}

const (
	kvService          = "etcdserverpb.KV/"
	leaseService       = "etcdserverpb.Lease/"
	maintenanceService = "etcdserverpb.Maintenance/"
	authService        = "etcdserverpb.Auth/"
)

func createWatch(r *pb.WatchCreateRequest) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}
}

// old is a revision that both replicas have applied.
const old = 2

// linearized returns the requests whose responses must show a state that is at least as new as the request, in an order
// in which they succeed.
func linearized() []methodRequest {
	lease, leader := int64(7), &v3electionpb.LeaderKey{}
	return []methodRequest{
		{kvService + "Range", &pb.RangeRequest{Key: key}},
		{kvService + "Range", &pb.RangeRequest{Key: key, Revision: old}},
		{kvService + "RangeStream", &pb.RangeRequest{Key: key}},
		{kvService + "RangeStream", &pb.RangeRequest{Key: key, Revision: old}},
		{kvService + "Txn", &pb.TxnRequest{}},
		{kvService + "Txn", &pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: key, Revision: old})}},
		{kvService + "Txn", &pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: key, Revision: old}, putOp("other"))}},
		{kvService + "Put", putOp("other")},
		{kvService + "DeleteRange", delOp("missing", "")},
		{kvService + "DeleteRange", delOp("other", "")},
		{"etcdserverpb.Watch/Watch", createWatch(&pb.WatchCreateRequest{Key: key})},
		{"etcdserverpb.Watch/Watch", createWatch(&pb.WatchCreateRequest{Key: key, StartRevision: old})},
		{"etcdserverpb.Watch/Watch", createWatch(&pb.WatchCreateRequest{Key: key, StartRevision: -1})},
		{leaseService + "LeaseGrant", &pb.LeaseGrantRequest{ID: lease, TTL: 600}},
		{leaseService + "LeaseKeepAlive", &pb.LeaseKeepAliveRequest{ID: lease}},
		{leaseService + "LeaseKeepAlive", &pb.LeaseKeepAliveRequest{ID: 99}},
		{leaseService + "LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: lease, Keys: true}},
		{leaseService + "LeaseTimeToLive", &pb.LeaseTimeToLiveRequest{ID: 99}},
		{leaseService + "LeaseLeases", &pb.LeaseLeasesRequest{}},
		{"v3lockpb.Lock/Lock", &v3lockpb.LockRequest{Name: []byte("lock"), Lease: lease}},
		{"v3lockpb.Lock/Unlock", &v3lockpb.UnlockRequest{Key: []byte("lock/7")}},
		{"v3electionpb.Election/Campaign",
			&v3electionpb.CampaignRequest{Name: []byte("vote"), Lease: lease, Value: []byte("a")}},
		{"v3electionpb.Election/Leader", &v3electionpb.LeaderRequest{Name: []byte("vote")}},
		{"v3electionpb.Election/Observe", &v3electionpb.LeaderRequest{Name: []byte("vote")}},
		{"v3electionpb.Election/Proclaim", &v3electionpb.ProclaimRequest{Leader: leader, Value: []byte("b")}},
		{"v3electionpb.Election/Resign", &v3electionpb.ResignRequest{Leader: leader}},
		{leaseService + "LeaseRevoke", &pb.LeaseRevokeRequest{ID: lease}},
		{maintenanceService + "HashKV", &pb.HashKVRequest{}},
		{maintenanceService + "HashKV", &pb.HashKVRequest{Revision: old}},
		{maintenanceService + "Hash", &pb.HashRequest{}},
		{maintenanceService + "Alarm", &pb.AlarmRequest{}},
		{maintenanceService + "Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE, Version: "3.6"}},
		{maintenanceService + "Downgrade", &pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL}},
		{kvService + "Compact", &pb.CompactionRequest{Revision: old}},
		{authService + "AuthStatus", &pb.AuthStatusRequest{}},
		{authService + "UserAdd", &pb.AuthUserAddRequest{Name: auth.Root, Password: "secret"}},
		{authService + "UserGet", &pb.AuthUserGetRequest{Name: auth.Root}},
		{authService + "UserList", &pb.AuthUserListRequest{}},
		{authService + "UserChangePassword", &pb.AuthUserChangePasswordRequest{Name: auth.Root, Password: "other"}},
		{authService + "RoleAdd", &pb.AuthRoleAddRequest{Name: "role"}},
		{authService + "RoleGet", &pb.AuthRoleGetRequest{Role: "role"}},
		{authService + "RoleList", &pb.AuthRoleListRequest{}},
		{authService + "RoleGrantPermission",
			&pb.AuthRoleGrantPermissionRequest{Name: "role", Perm: &authpb.Permission{Key: key}}},
		{authService + "RoleRevokePermission", &pb.AuthRoleRevokePermissionRequest{Role: "role", Key: key}},
		{authService + "UserGrantRole", &pb.AuthUserGrantRoleRequest{User: auth.Root, Role: "role"}},
		{authService + "UserRevokeRole", &pb.AuthUserRevokeRoleRequest{Name: auth.Root, Role: "role"}},
		{authService + "RoleDelete", &pb.AuthRoleDeleteRequest{Role: "role"}},
		{authService + "UserGrantRole", &pb.AuthUserGrantRoleRequest{User: auth.Root, Role: auth.Root}},
		{authService + "AuthEnable", &pb.AuthEnableRequest{}},
		{authService + "Authenticate", &pb.AuthenticateRequest{Name: auth.Root, Password: "other"}},
		{authService + "AuthDisable", &pb.AuthDisableRequest{}},
		{authService + "UserDelete", &pb.AuthUserDeleteRequest{Name: auth.Root}},
	}
}

// withoutRevision are the methods whose responses describe the replica itself, or have no revision.
var withoutRevision = []string{
	"etcdserverpb.Maintenance/Status", "etcdserverpb.Maintenance/Snapshot",
	"etcdserverpb.Maintenance/Defragment", "etcdserverpb.Maintenance/MoveLeader",
	"etcdserverpb.Cluster/MemberList", "etcdserverpb.Cluster/MemberAdd", "etcdserverpb.Cluster/MemberRemove",
	"etcdserverpb.Cluster/MemberUpdate", "etcdserverpb.Cluster/MemberPromote",
}

// TestLinearizedResponsesAreCurrent sends each linearized request to one replica right after the other one has
// acknowledged a write. No header may be older than the write. Every method of etcd's services is here or in
// withoutRevision.
func TestLinearizedResponsesAreCurrent(t *testing.T) {
	ahead, conn := behind(t, logstructured.LeaseModeEtcd)
	ctx := within(t)
	methods := slices.Clone(withoutRevision)
	leader := &v3electionpb.LeaderKey{}
	for _, q := range linearized() {
		methods = append(methods, q.method)
		switch r := q.request.(type) {
		case *v3electionpb.ProclaimRequest:
			r.Leader = leader
		case *v3electionpb.ResignRequest:
			r.Leader = leader
		}
		acknowledged := putThrough(t, ahead)
		answer, err := ask(ctx, t, conn, q.method, q.request)
		if err != nil {
			t.Errorf("%s %v: %v", q.method, q.request, err)
			continue
		}
		switch a := answer.(type) {
		case *pb.RangeStreamResponse:
			answer = a.RangeResponse
		case *pb.AuthenticateResponse:
			ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, a.Token)
		case *v3electionpb.CampaignResponse:
			leader = a.Leader
		}
		if rev := answer.(interface{ GetHeader() *pb.ResponseHeader }).GetHeader().GetRevision(); rev < acknowledged {
			t.Errorf("%s %v: header revision %d, after %d had been acknowledged by another replica", q.method,
				q.request, rev, acknowledged)
		}
	}
	for _, service := range etcdServices {
		var names []string
		for _, m := range service.Methods {
			names = append(names, m.MethodName)
		}
		for _, s := range service.Streams {
			names = append(names, s.StreamName)
		}
		for _, name := range names {
			if method := service.ServiceName + "/" + name; !slices.Contains(methods, method) {
				t.Errorf("%s was not methods", method)
			}
		}
	}
}

// In mode ttl a grant stores nothing.
func TestLeaseGrantInModeTTLIsCurrent(t *testing.T) {
	ahead, conn := behind(t, logstructured.LeaseModeTTL)
	acknowledged := putThrough(t, ahead)
	granted, err := pb.NewLeaseClient(conn).LeaseGrant(within(t), &pb.LeaseGrantRequest{TTL: 60})
	if err != nil || granted.Header.Revision < acknowledged {
		t.Errorf("%v, %v, after revision %d had been acknowledged by another replica", granted, err, acknowledged)
	}
}

// TestReadOfRevisionCompactedByAnotherReplica reads at a revision that the replica has applied and another one has just
// compacted, and at one that only the other replica has applied.
func TestReadOfRevisionCompactedByAnotherReplica(t *testing.T) {
	ahead, conn := behind(t, logstructured.LeaseModeTTL)
	ctx := within(t)
	kv := pb.NewKVClient(conn)
	for _, read := range []func(rev int64) methodRequest{
		func(rev int64) methodRequest {
			return methodRequest{kvService + "Range", &pb.RangeRequest{Key: key, Revision: rev}}
		},
		func(rev int64) methodRequest {
			return methodRequest{kvService + "RangeStream", &pb.RangeRequest{Key: key, Revision: rev}}
		},
		func(rev int64) methodRequest {
			return methodRequest{kvService + "Txn",
				&pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: key, Revision: rev})}}
		},
		func(rev int64) methodRequest {
			return methodRequest{maintenanceService + "HashKV", &pb.HashKVRequest{Revision: rev}}
		},
	} {
		applied := putThrough(t, ahead)
		if _, err := kv.Range(ctx, &pb.RangeRequest{Key: key}); err != nil {
			t.Fatal(err)
		}
		newest := putThrough(t, ahead)
		if _, err := ahead.Compact(ctx, logstructured.Unguarded, logstructured.Revision(newest), false); err != nil {
			t.Fatal(err)
		}
		q := read(applied)
		_, err := ask(ctx, t, conn, q.method, q.request)
		sameStatus(t, err, rpctypes.ErrGRPCCompacted)
		q = read(putThrough(t, ahead))
		if _, err := ask(ctx, t, conn, q.method, q.request); err != nil {
			t.Errorf("%s at a revision that another replica had acknowledged: %v", q.method, err)
		}
	}
}

// TestPermissionRevokedByAnotherReplica revokes a permission on one replica. Another replica must then refuse every
// linearized request that needs it.
func TestPermissionRevokedByAnotherReplica(t *testing.T) {
	ahead, conn := behind(t, logstructured.LeaseModeEtcd)
	root := pb.NewAuthClient(serveStore(t, ahead, nil).dial(t))
	ctx := within(t)
	addRoot(ctx, t, root)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(root.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "reader", Password: "secret"}))
	must(root.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "read"}))
	must(root.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "reader", Role: "read"}))
	putThrough(t, ahead)
	must(root.AuthEnable(ctx, &pb.AuthEnableRequest{}))
	token := func(name string) context.Context {
		t.Helper()
		answer, err := root.Authenticate(ctx, &pb.AuthenticateRequest{Name: name, Password: "secret"})
		must(answer, err)
		return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, answer.Token)
	}
	asRoot, asReader := token(auth.Root), token("reader")
	for _, q := range []methodRequest{
		{kvService + "Range", &pb.RangeRequest{Key: key, Revision: old}},
		{kvService + "RangeStream", &pb.RangeRequest{Key: key, Revision: old}},
		{kvService + "Txn", &pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: key, Revision: old})}},
		{"etcdserverpb.Watch/Watch", createWatch(&pb.WatchCreateRequest{Key: key})},
	} {
		must(root.RoleGrantPermission(asRoot,
			&pb.AuthRoleGrantPermissionRequest{Name: "read", Perm: &authpb.Permission{Key: key}}))
		if err := refusal(ask(asReader, t, conn, q.method, q.request)); err != nil {
			t.Errorf("%s with a permission: %v", q.method, err)
		}
		must(root.RoleRevokePermission(asRoot, &pb.AuthRoleRevokePermissionRequest{Role: "read", Key: key}))
		if err := refusal(ask(asReader, t, conn, q.method, q.request)); err == nil {
			t.Errorf("%s passes with a permission that was revoked through another replica", q.method)
		}
	}
	for _, q := range []methodRequest{
		{maintenanceService + "Alarm", &pb.AlarmRequest{}},
		{"etcdserverpb.Cluster/MemberList", &pb.MemberListRequest{Linearizable: true}},
	} {
		must(root.UserAdd(asRoot, &pb.AuthUserAddRequest{Name: "guest", Password: "secret"}))
		asGuest := token("guest")
		if _, err := ask(asGuest, t, conn, q.method, q.request); err != nil {
			t.Errorf("%s as a user: %v", q.method, err)
		}
		must(root.UserDelete(asRoot, &pb.AuthUserDeleteRequest{Name: "guest"}))
		_, err := ask(asGuest, t, conn, q.method, q.request)
		sameStatus(t, err, rpctypes.ErrGRPCInvalidAuthToken)
	}
}

// refusal returns the error of a request, or the reason why a watch was refused.
func refusal(answer proto.Message, err error) error {
	if w, ok := answer.(*pb.WatchResponse); ok && err == nil && w.Canceled {
		return errors.New(w.CancelReason)
	}
	return err
}
