package semantics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/stele-db/stele/test/internal/target"
)

// TestAuthOfEveryMethod calls every method that Stele serves, as it describes them by reflection, without a token and
// as a user without roles, over gRPC and over each path of the JSON gateway. It fails for a method without a row in
// methodRows, so that a new method needs a decision about its callers.
func TestAuthOfEveryMethod(t *testing.T) {
	t.Parallel()
	if target.SubjectIsEtcd() {
		t.Skip("etcd does not serve reflection")
	}
	reference, subject := bothWithLeases(t, cheapPasswords)
	served := methodsOf(t, subject)
	paths := 0
	for _, method := range served {
		paths += len(pathsOf(method))
	}
	if len(served) < 50 || paths < 50 {
		t.Errorf("Stele describes only %d methods and %d paths", len(served), paths)
	}
	rows := map[string]methodRow{}
	for _, r := range methodRows {
		if _, ok := served[r.method]; !ok {
			t.Errorf("%s has a row, but Stele does not serve it", r.method)
		}
		rows[r.method] = r
	}
	for name := range served {
		if _, ok := rows[name]; !ok {
			t.Errorf("%s has no row: add one with the answers of etcd", name)
		}
	}
	for _, s := range []*target.Target{reference, subject} {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			callAll(t, s, served, rows)
		})
	}
}

// callAll enables auth on a server and compares its answers with the rows.
func callAll(t *testing.T, s *target.Target, served methods, rows map[string]methodRow) {
	ctx, cancel := context.WithTimeout(t.Context(), ruleTimeout)
	defer cancel()
	m := setUp(ctx, t, s)
	m.user("root", "root")
	m.user("roleless")
	_, err := s.Lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 7, TTL: 1000})
	m.must(err)
	_, err = s.KV.Put(ctx, &pb.PutRequest{Key: []byte("k"), Lease: 7})
	m.must(err)
	m.enable()
	m.must(s.CatchUp(ctx))
	roleless := tokenOf(ctx, t, s, "roleless")
	for name, method := range served {
		r, ok := rows[name]
		if !ok {
			continue
		}
		want := r.etcd
		if s.Name == "stele" && r.stele != (outcomes{}) {
			want = r.stele
		}
		for _, sender := range []struct{ name, token, want string }{
			{"without a token", "", want.anonymous},
			{"as a user without roles", roleless, want.roleless},
		} {
			c := methodCall{Target: s, row: r, method: method, token: sender.token}
			check := func(sent, got string) {
				if _, message, failed := strings.Cut(got, ": "); failed && r.messageOnly {
					got = message
				}
				if got != sender.want {
					t.Errorf("%s %s: %q, want %q", sent, sender.name, got, sender.want)
				}
			}
			check(name, c.overGRPC(ctx, t))
			for _, path := range pathsOf(method) {
				check(path, c.overHTTP(ctx, t, path))
			}
		}
	}
}

// methods are the methods of a server, by the names under which clients call them.
type methods map[string]protoreflect.MethodDescriptor

// methodsOf returns the methods that a server describes by reflection.
func methodsOf(t *testing.T, s *target.Target) methods {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ruleTimeout)
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(s.Conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	list := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	})
	var services []protoreflect.FullName
	var set descriptorpb.FileDescriptorSet
	for _, service := range list.GetListServicesResponse().GetService() {
		services = append(services, protoreflect.FullName(service.Name))
		resp := ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{
				FileContainingSymbol: service.Name,
			},
		})
		for _, encoded := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(encoded, file); err != nil {
				t.Fatal(err)
			}
			known := func(f *descriptorpb.FileDescriptorProto) bool { return f.GetName() == file.GetName() }
			if !slices.ContainsFunc(set.File, known) {
				set.File = append(set.File, file)
			}
		}
	}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	served := methods{}
	for _, service := range services {
		found, err := files.FindDescriptorByName(service)
		if err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		of := found.(protoreflect.ServiceDescriptor).Methods()
		for i := range of.Len() {
			served[fmt.Sprintf("/%s/%s", service, of.Get(i).Name())] = of.Get(i)
		}
	}
	return served
}

// pathsOf returns the paths of the JSON gateway that lead to a method.
func pathsOf(method protoreflect.MethodDescriptor) (paths []string) {
	rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	for _, binding := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		if path := binding.GetPost(); path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// methodCall is one call of one sender, whose token may be empty.
type methodCall struct {
	*target.Target
	row    methodRow
	method protoreflect.MethodDescriptor
	token  string
}

// overGRPC returns the outcome of the call; of a stream, that of its first answer.
func (c methodCall) overGRPC(ctx context.Context, t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if c.token != "" {
		ctx = withToken(ctx, c.token)
	}
	req, resp := messageOf(c.method.Input()), messageOf(c.method.Output())
	if err := protojson.Unmarshal([]byte(c.row.request), req); err != nil {
		t.Fatalf("%s: %v", c.row.method, err)
	}
	desc := &grpc.StreamDesc{ServerStreams: c.method.IsStreamingServer(), ClientStreams: c.method.IsStreamingClient()}
	stream, err := c.Conn.NewStream(ctx, desc, c.row.method)
	if err == nil {
		err = stream.SendMsg(req)
	}
	if err == nil && !desc.ClientStreams {
		err = stream.CloseSend()
	}
	if err == nil || errors.Is(err, io.EOF) { // EOF means that the server has ended the call already
		err = stream.RecvMsg(resp)
	}
	if errors.Is(err, io.EOF) {
		return ended
	}
	if err != nil {
		return outcome(err)
	}
	answer, err := protojson.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	return c.read(t, answer)
}

// messageOf returns an empty message, of its Go type if it has one.
func messageOf(desc protoreflect.MessageDescriptor) proto.Message {
	if kind, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName()); err == nil {
		return kind.New().Interface()
	}
	return dynamicpb.NewMessage(desc)
}

// overHTTP returns the outcome of the call of a path of the JSON gateway.
func (c methodCall) overHTTP(ctx context.Context, t *testing.T, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := "http://" + c.Address + path
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(c.row.request))
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return "none"
	}
	defer resp.Body.Close()
	var answer json.RawMessage
	switch err := json.NewDecoder(resp.Body).Decode(&answer); {
	case errors.Is(err, io.EOF):
		return ended
	case err != nil:
		t.Errorf("%s: %s: %v", path, resp.Status, err)
	}
	return c.read(t, answer)
}

// read returns the outcome of an answer in JSON: its own error, that of its stream, or the reason for which its watcher
// was canceled.
func (c methodCall) read(t *testing.T, answer []byte) string {
	t.Helper()
	type failure struct {
		Code    codes.Code
		Message string
	}
	type watch struct {
		CancelReason string `json:"cancelReason"`
		Snake        string `json:"cancel_reason"`
	}
	var a struct {
		failure
		watch
		Error  *failure
		Result watch
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Errorf("%s: %q: %v", c.row.method, answer, err)
	}
	if a.Error != nil {
		a.failure = *a.Error
	}
	if a.Code != codes.OK {
		return fmt.Sprintf("%v: %s", a.Code, a.Message)
	}
	for _, reason := range []string{a.CancelReason, a.Snake, a.Result.CancelReason, a.Result.Snake} {
		if reason != "" {
			return "canceled: " + reason
		}
	}
	return ok
}
