package server

import (
	"context"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
)

// While auth is disabled, checking a request allocates nothing.
func TestDisabledAuthCostsNothing(t *testing.T) {
	r := serve(t, nil)
	a, ctx := r.watch.auth, metadata.NewIncomingContext(t.Context(), metadata.Pairs("token", "t"))
	put := &pb.PutRequest{Key: []byte("k")}
	records := logstructured.Moment{Records: a.store.Records()}
	allocated := testing.AllocsPerRun(100, func() {
		_, err := authorized(ctx, a, put, func(guard logstructured.Guard) (logstructured.Revision, error) {
			return 1, guard(records)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}

// addRoot adds what auth needs to be enabled.
func addRoot(ctx context.Context, t *testing.T, client pb.AuthClient) {
	t.Helper()
	if _, err := client.UserAdd(ctx, &pb.AuthUserAddRequest{Name: auth.Root, Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: auth.Root, Role: auth.Root}); err != nil {
		t.Fatal(err)
	}
}

// The rules know every request of etcd's services. Root may send all of them, and a client without an identity only
// those in open.
func TestEveryRequestIsPermittedToRoot(t *testing.T) {
	r := serve(t, nil)
	client := pb.NewAuthClient(r.dial(t))
	ctx := within(t)
	addRoot(ctx, t, client)
	if _, err := client.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
		t.Fatal(err)
	}
	st := r.watch.auth.current()
	at := logstructured.Moment{Records: r.watch.store.Records()}
	// An empty request names the empty user, and an empty transaction reads nothing.
	open := []proto.Message{&pb.AuthStatusRequest{}, &pb.AuthUserGetRequest{}, &pb.TxnRequest{}}
	requests := 0
	for i := range pb.File_rpc_proto.Services().Len() {
		methods := pb.File_rpc_proto.Services().Get(i).Methods()
		for j := range methods.Len() {
			kind, err := protoregistry.GlobalTypes.FindMessageByName(methods.Get(j).Input().FullName())
			if err != nil {
				t.Fatal(err)
			}
			m := kind.New().Interface()
			switch m.(type) {
			case *pb.AuthenticateRequest:
				continue
			case *pb.WatchRequest:
				m = &pb.WatchCreateRequest{}
			}
			requests++
			if err := permit(st, st.Certificate(auth.Root), m, at); err != nil {
				t.Errorf("%T as root: %v", m, err)
			}
			isOpen := false
			for _, o := range open {
				isOpen = isOpen || proto.MessageName(o) == proto.MessageName(m)
			}
			if err := permit(st, auth.Identity{}, m, at); (err == nil) != isOpen {
				t.Errorf("%T as nobody: %v", m, err)
			}
		}
	}
	if requests < 40 {
		t.Errorf("only %d requests were tried", requests)
	}
	sameStatus(t, permit(st, st.Certificate(auth.Root), &pb.ResponseHeader{}, at), rpctypes.ErrGRPCPermissionDenied)
}

// A request that began before auth was enabled is checked.
func TestRequestIsCheckedIfAuthIsEnabledConcurrently(t *testing.T) {
	r := serve(t, nil)
	client := pb.NewAuthClient(r.dial(t))
	ctx := within(t)
	addRoot(ctx, t, client)
	calls := 0
	_, err := authorized(context.Background(), r.watch.auth, &pb.PutRequest{Key: []byte("k")},
		func(guard logstructured.Guard) (*logstructured.PutResult, error) {
			if calls++; calls == 1 {
				if _, err := client.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			return r.watch.store.Put(ctx, guard, &logstructured.PutRequest{Key: []byte("k")})
		})
	sameStatus(t, err, rpctypes.ErrGRPCUserEmpty)
	if revision := r.watch.store.Revision(); calls != 2 || revision != 1 {
		t.Errorf("%d calls took the revision to %d", calls, revision)
	}
}

// While a record of users and roles is malformed, every request is refused, whether or not auth was enabled.
func TestMalformedAuthRecordRefusesAllRequests(t *testing.T) {
	for name, enabled := range map[string]bool{auth.RecordEnabled: true, auth.RecordRevision: false,
		auth.UserPrefix + auth.Root: false} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, nil)
			conn, ctx := r.dial(t), within(t)
			client, kv := pb.NewAuthClient(conn), pb.NewKVClient(conn)
			addRoot(ctx, t, client)
			if enabled {
				if _, err := client.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
					t.Fatal(err)
				}
				resp, err := client.Authenticate(ctx, &pb.AuthenticateRequest{Name: auth.Root, Password: "secret"})
				if err != nil {
					t.Fatal(err)
				}
				ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, resp.Token)
			}
			set := func(value []byte) {
				t.Helper()
				if _, err := r.store.UpdateRecords(ctx, logstructured.Unguarded,
					func(logstructured.Records) ([]logstructured.RecordChange, error) {
						return []logstructured.RecordChange{{Name: name, Value: value}}, nil
					}); err != nil {
					t.Fatal(err)
				}
			}
			good, _ := r.store.Records().Get(name)
			set([]byte("malformed"))
			for what, call := range map[string]func() error{
				"range": func() error {
					_,
						err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("k")})
					return err
				},
				"put": func() error { _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k")}); return err },
				"txn": func() error { _, err := kv.Txn(ctx, &pb.TxnRequest{}); return err },
				"compact": func() error {
					_,
						err := kv.Compact(ctx, &pb.CompactionRequest{Revision: 1})
					return err
				},
				"auth status": func() error { _, err := client.AuthStatus(ctx, &pb.AuthStatusRequest{}); return err },
				"auth disable": func() error {
					_,
						err := client.AuthDisable(ctx, &pb.AuthDisableRequest{})
					return err
				},
				"user add": func() error {
					_,
						err := client.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u"})
					return err
				},
				"authenticate": func() error {
					_, err := client.Authenticate(ctx, &pb.AuthenticateRequest{Name: auth.Root, Password: "secret"})
					return err
				},
				"grant": func() error {
					_, err := pb.NewLeaseClient(conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 60})
					return err
				},
				"snapshot": func() error {
					stream, err := pb.NewMaintenanceClient(conn).Snapshot(ctx, &pb.SnapshotRequest{})
					if err == nil {
						_, err = stream.Recv()
					}
					return err
				},
			} {
				if err := call(); status.Code(err) != codes.DataLoss {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := r.watch.intact(ctx); err == nil {
				t.Error("/readyz is ok")
			}
			set(good)
			if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("k")}); err != nil {
				t.Errorf("after the repair: %v", err)
			}
			if err := r.watch.intact(ctx); err != nil {
				t.Errorf("/readyz after the repair: %v", err)
			}
		})
	}
}
