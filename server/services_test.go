package server

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/stele-db/stele/server/transport"
)

func TestMaintenance(t *testing.T) {
	r := serve(t, nil)
	conn, m, ctx := r.dial(t), r.watch.member, within(t)
	client := pb.NewMaintenanceClient(conn)
	for range 3 {
		if _, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	st, err := client.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if st.DbSize <= 0 || st.DbSizeInUse <= 0 || st.DbSizeInUse > st.DbSize || st.RaftIndex == 0 {
		t.Errorf("%v", st)
	}
	same(t, st, &pb.StatusResponse{
		Header: headerAt(m, 4), Version: "3.7.3", StorageVersion: "3.7.0", Leader: m.memberID,
		RaftIndex: st.RaftIndex, RaftAppliedIndex: st.RaftIndex, RaftTerm: m.store.Term(),
		DbSize: st.DbSize, DbSizeInUse: st.DbSizeInUse, DowngradeInfo: &pb.DowngradeInfo{},
	})

	hash, err := client.Hash(ctx, &pb.HashRequest{})
	if err != nil || hash.Hash == 0 {
		t.Fatalf("%v, %v", hash, err)
	}
	same(t, hash.Header, headerAt(m, 4))
	first, err := client.HashKV(ctx, &pb.HashKVRequest{Revision: 3})
	if err != nil || first.Hash == 0 {
		t.Fatalf("%v, %v", first, err)
	}
	same(t, first,
		&pb.HashKVResponse{Header: headerAt(m, 4), Hash: first.Hash, HashRevision: 3,
			CompactRevision: first.CompactRevision})
	_, err = client.HashKV(ctx, &pb.HashKVRequest{Revision: 99})
	sameStatus(t, err, rpctypes.ErrGRPCFutureRev)

	defragmented, err := client.Defragment(ctx, &pb.DefragmentRequest{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, defragmented, &pb.DefragmentResponse{})
	alarms, err := client.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
	if err != nil {
		t.Fatal(err)
	}
	same(t, alarms, &pb.AlarmResponse{Header: headerAt(m, 4)})
}

func TestAuthIsDisabled(t *testing.T) {
	r := serve(t, nil)
	client := pb.NewAuthClient(r.dial(t))
	st, err := client.AuthStatus(within(t), &pb.AuthStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, st, &pb.AuthStatusResponse{Header: headerAt(r.watch.member, 1), AuthRevision: 1})
	_, err = client.Authenticate(within(t), &pb.AuthenticateRequest{Name: "root", Password: "secret"})
	sameStatus(t, err, rpctypes.ErrGRPCAuthNotEnabled)
}

// TestEveryMethodIsImplemented checks that no method of etcd's services returns Unimplemented for an empty request.
func TestEveryMethodIsImplemented(t *testing.T) {
	r := serve(t, nil)
	conn := r.dial(t)
	methods := 0
	for i := range pb.File_rpc_proto.Services().Len() {
		service := pb.File_rpc_proto.Services().Get(i)
		for j := range service.Methods().Len() {
			method := service.Methods().Get(j)
			methods++
			name := string(service.Name()) + "/" + string(method.Name())
			err := invoke(within(t), conn, service, method)
			if status.Code(err) == codes.Unimplemented {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if methods < 40 {
		t.Errorf("only %d methods were tried", methods)
	}
}

// invoke calls a method with an empty request and receives its first response.
func invoke(ctx context.Context, conn *grpc.ClientConn, service protoreflect.ServiceDescriptor,
	method protoreflect.MethodDescriptor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	path := "/" + string(service.FullName()) + "/" + string(method.Name())
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, path)
	if err != nil {
		return err
	}
	request := dynamicpb.NewMessage(method.Input())
	if path == "/etcdserverpb.Maintenance/Alarm" {
		return nil // an empty one is a GET, tested elsewhere
	}
	if path == "/etcdserverpb.Watch/Watch" {
		create := request.Mutable(method.Input().Fields().ByName("create_request")).Message()
		create.Set(create.Descriptor().Fields().ByName("key"), protoreflect.ValueOfBytes(key))
	}
	if err := stream.SendMsg(request); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(dynamicpb.NewMessage(method.Output()))
}

func TestReflection(t *testing.T) {
	r := serve(t, nil)
	stream, err := reflectionpb.NewServerReflectionClient(r.dial(t)).ServerReflectionInfo(within(t))
	if err != nil {
		t.Fatal(err)
	}
	list := &reflectionpb.ServerReflectionRequest_ListServices{}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: list}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	for _, want := range []string{"etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease", "etcdserverpb.Cluster",
		"etcdserverpb.Maintenance", "etcdserverpb.Auth", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	// A client can resolve each service, and all imports of its file.
	files := map[string]bool{}
	fetch := func(request *reflectionpb.ServerReflectionRequest) (imports []string) {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil || resp.GetErrorResponse() != nil {
			t.Fatalf("%v: %v, %v", request, resp.GetErrorResponse(), err)
		}
		for _, encoded := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
			var file descriptorpb.FileDescriptorProto
			if err := proto.Unmarshal(encoded, &file); err != nil {
				t.Fatal(err)
			}
			files[file.GetName()] = true
			imports = append(imports, file.Dependency...)
		}
		return imports
	}
	for _, name := range names {
		missing := fetch(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
		})
		for len(missing) > 0 {
			next := missing[0]
			missing = missing[1:]
			if !files[next] {
				missing = append(missing, fetch(&reflectionpb.ServerReflectionRequest{
					MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: next},
				})...)
				if !files[next] {
					t.Fatalf("%s came under another name", next)
				}
			}
		}
	}
	_ = stream.CloseSend()
}

// TestCompressedRequest checks that clients may compress requests, as gRPC's clients can.
func TestCompressedRequest(t *testing.T) {
	r := serve(t, nil)
	kv, value := pb.NewKVClient(r.dial(t)), bytes.Repeat([]byte("v"), 10_000)
	if _, err := kv.Put(within(t), &pb.PutRequest{Key: key, Value: value}, grpc.UseCompressor(gzip.Name)); err != nil {
		t.Fatal(err)
	}
	got, err := kv.Range(within(t), &pb.RangeRequest{Key: key}, grpc.UseCompressor(gzip.Name))
	if err != nil || len(got.Kvs) != 1 || !bytes.Equal(got.Kvs[0].Value, value) {
		t.Errorf("%d keys, %v", len(got.GetKvs()), err)
	}
}

func TestLeaseGrant(t *testing.T) {
	r := serve(t, nil)
	client := pb.NewLeaseClient(r.dial(t))
	got, err := client.LeaseGrant(within(t), &pb.LeaseGrantRequest{TTL: 30})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, &pb.LeaseGrantResponse{Header: headerAt(r.watch.member, 1), ID: got.ID, TTL: 30})
	_, err = client.LeaseGrant(within(t), &pb.LeaseGrantRequest{TTL: 9_000_000_001})
	sameStatus(t, err, rpctypes.ErrGRPCLeaseTTLTooLarge)
}

// gRPC refuses a message that is larger than the limit and the overhead.
func TestMessageTooLarge(t *testing.T) {
	r := serve(t, nil)
	conn := r.dial(t)
	_, err := pb.NewKVClient(conn).Put(within(t),
		&pb.PutRequest{Key: key, Value: make([]byte, DefaultMaxRequestBytes+grpcOverheadBytes)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	_, err = pb.NewKVClient(conn).Put(within(t), &pb.PutRequest{Key: key, Value: make([]byte, DefaultMaxRequestBytes)})
	sameStatus(t, err, rpctypes.ErrGRPCRequestTooLarge)
	if got := r.store.Revision(); got != 1 {
		t.Errorf("revision %d", got)
	}
}

// A panic of a handler fails the request, and the server continues.
func TestPanicReturnsInternal(t *testing.T) {
	store := newStore(t)
	s, err := New(store, Options{Logger: quiet(), Listeners: []*transport.Listener{listen(t, "127.0.0.1:0", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "broken", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "call",
			Handler: func(_ any, ctx context.Context, _ func(any) error, intercept grpc.UnaryServerInterceptor) (any,
				error) {
				return intercept(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/broken/call"},
					func(context.Context, any) (any, error) { panic("as tested") })
			}}},
		Streams: []grpc.StreamDesc{{StreamName: "stream", ServerStreams: true,
			Handler: func(any, grpc.ServerStream) error { panic("as tested") }}},
	}, nil)
	conn := run(t, s, store).dial(t)
	for _, method := range []string{"/broken/call", "/broken/stream"} {
		err := conn.Invoke(within(t), method, &pb.PutRequest{}, &pb.PutResponse{})
		sameStatus(t, err, status.Error(codes.Internal, "etcdserver: internal error"))
	}
	if _, err := pb.NewKVClient(conn).Put(within(t), &pb.PutRequest{Key: key}); err != nil {
		t.Error(err)
	}
}

// Clients that ping more often than allowed are disconnected.
func TestKeepAliveEnforcement(t *testing.T) {
	r := serve(t, nil)
	conn := connect(t, r)
	const settings, ping, goAway = 4, 6, 7
	frame := func(kind byte, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, 0, 0, 0, 0, 0}) + payload
	}
	if _, err := io.WriteString(conn,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frame(settings, "")+strings.Repeat(frame(ping, "12345678"),
			10)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for {
		header := make([]byte, 9)
		if _, err := io.ReadFull(conn, header); err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			t.Fatal(err)
		}
		if header[3] == goAway {
			if !strings.Contains(string(payload), "too_many_pings") {
				t.Errorf("GOAWAY %q", payload)
			}
			return
		}
	}
}
