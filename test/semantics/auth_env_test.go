package semantics

import (
	"context"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/test/internal/target"
)

// cheapPasswords makes hashing fast, for tests that hash many passwords.
const cheapPasswords = "--bcrypt-cost=4"

// bothWithLeases starts both servers, Stele with etcd's leases.
func bothWithLeases(t *testing.T, args ...string) (reference, subject *target.Target) {
	t.Helper()
	reference = target.Reference(t, args...)
	if !target.SubjectIsEtcd() {
		args = append(args, "--lease-mode=etcd")
	}
	return reference, target.Subject(t, args...)
}

// as returns a context with the token of a user whose password equals its name.
func as(ctx context.Context, t testing.TB, s *target.Target, name string) context.Context {
	t.Helper()
	return withToken(ctx, tokenOf(ctx, t, s, name))
}

// tokenOf returns a token of a user whose password equals its name.
func tokenOf(ctx context.Context, t testing.TB, s *target.Target, name string) string {
	t.Helper()
	a, err := pb.NewAuthClient(s.Conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: name, Password: name})
	if err != nil {
		t.Fatalf("%s: authenticate %s: %v", s.Name, name, err)
	}
	return a.Token
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "token", token)
}

// outcome returns the code and message of an error.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	st := status.Convert(err)
	return fmt.Sprintf("%v: %s", st.Code(), st.Message())
}

// setup makes calls that must succeed.
type setup struct {
	t    testing.TB
	ctx  context.Context //nolint:containedctx // it bounds the setup
	auth pb.AuthClient
}

func (s setup) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// user adds a user with roles, whose password equals its name.
func (s setup) user(name string, roles ...string) {
	s.t.Helper()
	_, err := s.auth.UserAdd(s.ctx, &pb.AuthUserAddRequest{Name: name, Password: name})
	s.must(err)
	for _, role := range roles {
		_, err := s.auth.UserGrantRole(s.ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: role})
		s.must(err)
	}
}

// role adds a role, with a permission on all keys with prefix unless that is empty.
func (s setup) role(name, prefix string, kind authpb.Permission_Type) {
	s.t.Helper()
	_, err := s.auth.RoleAdd(s.ctx, &pb.AuthRoleAddRequest{Name: name})
	s.must(err)
	if prefix != "" {
		s.grant(name, kind, prefix, prefixEnd(prefix))
	}
}

func (s setup) grant(role string, kind authpb.Permission_Type, key, end string) {
	s.t.Helper()
	_, err := s.auth.RoleGrantPermission(s.ctx, &pb.AuthRoleGrantPermissionRequest{
		Name: role, Perm: &authpb.Permission{PermType: kind, Key: []byte(key), RangeEnd: []byte(end)},
	})
	s.must(err)
}

func (s setup) enable() {
	s.t.Helper()
	_, err := s.auth.AuthEnable(s.ctx, &pb.AuthEnableRequest{})
	s.must(err)
}

// setUp returns the setup of a server.
func setUp(ctx context.Context, t testing.TB, s *target.Target) setup {
	return setup{t, ctx, pb.NewAuthClient(s.Conn)}
}

func prefixEnd(prefix string) string { return prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1) }
