package semantics

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/stele-db/stele/test/internal/target"
)

const (
	denied       = "etcdserver: permission denied"
	invalidToken = "etcdserver: invalid auth token"
	noName       = "etcdserver: user name is empty"
	oldRevision  = "etcdserver: revision of auth store is old"
)

// TestAuth runs rules that share users: each rule has its own prefix, role and user, and root makes the changes.
func TestAuth(t *testing.T) {
	t.Parallel()
	withAuth(t, authRules, cheapPasswords, "--auth-token-ttl=2")
}

// withAuth runs rules on servers that have auth enabled, with a user root.
func withAuth(t *testing.T, rules []rule, args ...string) {
	t.Helper()
	run := func(t *testing.T, s *target.Target) {
		t.Helper()
		m := setUp(t.Context(), t, s)
		m.user("root", "root")
		m.enable()
		runAll(t, s, rules)
	}
	if !target.Variant() {
		t.Run("etcd", func(t *testing.T) {
			t.Parallel()
			run(t, target.Reference(t, args...))
		})
	}
	t.Run("stele", func(t *testing.T) {
		t.Parallel()
		run(t, target.Subject(t, args...))
	})
}

// as returns a context of a user whose password equals its name.
func (e *env) as(name string) context.Context {
	e.Helper()
	return as(e.ctx, e.T, e.Target, name)
}

// edit returns a setup as root, with a new token each time: a change invalidates JSON web tokens.
func (e *env) edit() setup { return setup{e.T, e.as("root"), pb.NewAuthClient(e.Conn)} }

// account adds a user and a role of the same name, with a permission on the rule's keys.
func (e *env) account(name string, kind authpb.Permission_Type) {
	e.Helper()
	e.edit().role(name, "", kind)
	e.edit().grant(name, kind, e.prefix, string(e.end()))
	e.edit().user(name)
	m := e.edit()
	_, err := m.auth.UserGrantRole(m.ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: name})
	m.must(err)
}

func (e *env) putAs(ctx context.Context, name string) error {
	_, err := e.KV.Put(ctx, &pb.PutRequest{Key: e.key(name), Value: []byte("v")})
	return err
}

func (e *env) getAs(ctx context.Context, name string) error {
	_, err := e.KV.Range(ctx, &pb.RangeRequest{Key: e.key(name)})
	return err
}

// authRevision returns the auth revision of AuthStatus.
func (e *env) authRevision() uint64 {
	e.Helper()
	m := e.edit()
	a, err := m.auth.AuthStatus(m.ctx, &pb.AuthStatusRequest{})
	return must(e, a, err).AuthRevision
}

var authRules = []rule{
	{"changes apply immediately", func(e *env) {
		e.account("quick", authpb.Permission_READWRITE)
		user := e.as("quick")
		m := e.edit()
		fails(e, codes.OK, "", 0, e.putAs(user, "k"))
		_, err := m.auth.RoleRevokePermission(m.ctx, &pb.AuthRoleRevokePermissionRequest{
			Role: "quick", Key: []byte(e.prefix), RangeEnd: e.end(),
		})
		m.must(err)
		fails(e, codes.PermissionDenied, denied, 0, e.putAs(user, "k"))
		fails(e, codes.PermissionDenied, denied, 0, e.getAs(user, "k"))
		m.grant("quick", authpb.Permission_READ, string(e.key("k")), "")
		fails(e, codes.OK, "", 0, e.getAs(user, "k"))
		fails(e, codes.PermissionDenied, denied, 0, e.putAs(user, "k"))
		m.grant("quick", authpb.Permission_READWRITE, string(e.key("k")), "")
		fails(e, codes.OK, "", 0, e.putAs(user, "k"))
		_, err = m.auth.UserRevokeRole(m.ctx, &pb.AuthUserRevokeRoleRequest{Name: "quick", Role: "quick"})
		m.must(err)
		fails(e, codes.PermissionDenied, denied, 0, e.putAs(user, "k"))
		_, err = m.auth.UserGrantRole(m.ctx, &pb.AuthUserGrantRoleRequest{User: "quick", Role: "quick"})
		m.must(err)
		fails(e, codes.OK, "", 0, e.putAs(user, "k"))
		_, err = m.auth.RoleDelete(m.ctx, &pb.AuthRoleDeleteRequest{Role: "quick"})
		m.must(err)
		fails(e, codes.PermissionDenied, denied, 0, e.putAs(user, "k"))
		got, err := m.auth.UserGet(m.ctx, &pb.AuthUserGetRequest{Name: "quick"})
		equal(e, "roles left", len(must(e, got, err).Roles), 0)
	}},
	{"a change of the password or the user invalidates tokens", func(e *env) {
		e.account("mortal", authpb.Permission_READWRITE)
		m := e.edit()
		first := e.as("mortal")
		_, err := m.auth.UserChangePassword(m.ctx, &pb.AuthUserChangePasswordRequest{Name: "mortal", Password: "other"})
		m.must(err)
		fails(e, codes.Unauthenticated, invalidToken, 0, e.putAs(first, "k"))
		_, err = m.auth.Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "mortal", Password: "mortal"})
		fails(e, codes.InvalidArgument, "etcdserver: authentication failed, invalid user ID or password", 0, err)
		a, err := m.auth.Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "mortal", Password: "other"})
		second := withToken(e.ctx, must(e, a, err).Token)
		fails(e, codes.OK, "", 0, e.putAs(second, "k"))
		_, err = m.auth.UserDelete(m.ctx, &pb.AuthUserDeleteRequest{Name: "mortal"})
		m.must(err)
		fails(e, codes.Unauthenticated, invalidToken, 0, e.putAs(second, "k"))
		m.user("mortal", "mortal")
		fails(e, codes.Unauthenticated, invalidToken, 0, e.putAs(second, "k"))
		fails(e, codes.OK, "", 0, e.putAs(e.as("mortal"), "k"))
	}},
	{"etcd's client renews its token", func(e *env) {
		e.account("idle", authpb.Permission_READWRITE)
		client, err := clientv3.New(clientv3.Config{
			Endpoints: e.Addresses, Username: "idle", Password: "idle", DialTimeout: 10 * time.Second,
			Logger:      zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithIdleTimeout(0)},
		})
		if err != nil {
			e.Fatal(err)
		}
		defer client.Close()
		_, err = client.Put(e.ctx, string(e.key("k")), "v")
		must(e, 0, err)
		// Using a token renews it, so each attempt uses another token of the same age.
		var unused []context.Context
		for range 250 {
			unused = append(unused, e.as("idle"))
		}
		e.await(func() bool {
			ended := e.getAs(unused[0], "k") != nil
			unused = unused[1:]
			if len(unused) == 0 {
				e.Fatal("no token expires")
			}
			return ended
		})
		_, err = client.Put(e.ctx, string(e.key("k")), "v")
		must(e, 0, err)
		fails(e, codes.Unauthenticated, invalidToken, 0, e.getAs(withToken(e.ctx, "no"), "k"))
	}},
	{"a watch is checked when it is created", func(e *env) {
		e.account("watcher", authpb.Permission_READ)
		root, user := e.as("root"), e.as("watcher")
		s, err := e.Watch.Watch(user)
		must(e, 0, err)
		next := func() *pb.WatchResponse {
			a, err := s.Recv()
			return must(e, a, err)
		}
		create := func(key, end []byte) *pb.WatchResponse {
			must(e, 0, s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
				CreateRequest: &pb.WatchCreateRequest{Key: key, RangeEnd: end},
			}}))
			return next()
		}
		equal(e, "permitted", create([]byte(e.prefix), e.end()).Canceled, false)
		// The watches of a stream are checked one by one.
		a := create([]byte("elsewhere"), nil)
		equal(e, "id", a.WatchId, -1)
		equal(e, "created and canceled", a.Created && a.Canceled, true)
		equal(e, "reason", a.CancelReason, "rpc error: code = PermissionDenied desc = "+denied)
		must(e, 0, e.putAs(root, "k"))
		equal(e, "events", len(next().Events), 1)
		m := e.edit()
		_, err = m.auth.UserRevokeRole(m.ctx, &pb.AuthUserRevokeRoleRequest{Name: "watcher", Role: "watcher"})
		m.must(err)
		must(e, 0, e.putAs(root, "k"))
		equal(e, "events afterwards", len(next().Events), 1)
		equal(e, "another one", create([]byte(e.prefix), e.end()).CancelReason,
			"rpc error: code = PermissionDenied desc = "+denied)
	}},
	{"every change increments the auth revision", func(e *env) {
		m := e.edit()
		last := e.authRevision()
		step := func(name string, want uint64, err error) {
			e.Helper()
			m.must(err)
			now := e.authRevision()
			equal(e, name, now-last, want)
			last = now
		}
		_, err := m.auth.RoleAdd(m.ctx, &pb.AuthRoleAddRequest{Name: "counted"})
		step("role add", 1, err)
		_, err = m.auth.UserAdd(m.ctx, &pb.AuthUserAddRequest{
			Name: "counted", Options: &authpb.UserAddOptions{NoPassword: true},
		})
		step("user add", 1, err)
		_, err = m.auth.UserGrantRole(m.ctx, &pb.AuthUserGrantRoleRequest{User: "counted", Role: "counted"})
		step("grant", 1, err)
		_, err = m.auth.UserGrantRole(m.ctx, &pb.AuthUserGrantRoleRequest{User: "counted", Role: "counted"})
		step("grant again", 0, err)
		_, err = m.auth.RoleGrantPermission(m.ctx, &pb.AuthRoleGrantPermissionRequest{
			Name: "counted", Perm: permission("a", "b"),
		})
		step("grant permission", 1, err)
		_, err = m.auth.RoleGrantPermission(m.ctx, &pb.AuthRoleGrantPermissionRequest{
			Name: "counted", Perm: permission("a", "b"),
		})
		step("the same again", 1, err)
		_, err = m.auth.UserChangePassword(m.ctx, &pb.AuthUserChangePasswordRequest{Name: "counted", Password: "x"})
		step("change password", 1, err)
		_, err = m.auth.AuthEnable(m.ctx, &pb.AuthEnableRequest{})
		step("enable again", 0, err)
		_, err = m.auth.RoleDelete(m.ctx, &pb.AuthRoleDeleteRequest{Role: "counted"})
		step("role delete", 1, err)
		_, err = m.auth.UserDelete(m.ctx, &pb.AuthUserDeleteRequest{Name: "counted"})
		step("user delete", 1, err)
		_, err = m.auth.UserAdd(m.ctx, &pb.AuthUserAddRequest{Name: "root", Password: "x"})
		fails(e, codes.FailedPrecondition, "etcdserver: user name already exists", 0, err)
		step("a refused change", 0, nil)
	}},
	{"lists are sorted", func(e *env) {
		m := e.edit()
		for _, name := range []string{"z/1", "z-2", "zé", "z", "z 3"} {
			_, err := m.auth.RoleAdd(m.ctx, &pb.AuthRoleAddRequest{Name: name})
			m.must(err)
			m.user(name, name, "root")
		}
		users, err := m.auth.UserList(m.ctx, &pb.AuthUserListRequest{})
		equal(e, "users",
			strings.Join(slices.DeleteFunc(must(e, users, err).Users, func(n string) bool { return n[0] != 'z' }), ","),
			"z,z 3,z-2,z/1,zé")
		roles, err := m.auth.RoleList(m.ctx, &pb.AuthRoleListRequest{})
		equal(e, "roles",
			strings.Join(slices.DeleteFunc(must(e, roles, err).Roles, func(n string) bool { return n[0] != 'z' }), ","),
			"z,z 3,z-2,z/1,zé")
		user, err := m.auth.UserGet(m.ctx, &pb.AuthUserGetRequest{Name: "z/1"})
		equal(e, "roles of one", strings.Join(must(e, user, err).Roles, ","), "root,z/1")
		m.grant("z", authpb.Permission_WRITE, "c", "d")
		m.grant("z", authpb.Permission_READ, "a", "\x00")
		m.grant("z", authpb.Permission_READ, "b", "")
		m.grant("z", authpb.Permission_READWRITE, "c", "d")
		var seen []string
		role, err := m.auth.RoleGet(m.ctx, &pb.AuthRoleGetRequest{Role: "z"})
		for _, p := range must(e, role, err).Perm {
			seen = append(seen, p.PermType.String()+" "+string(p.Key)+" "+string(p.RangeEnd))
		}
		equal(e, "permissions", strings.Join(seen, ","), "READ a \x00,READ b ,READWRITE c d")
	}},
	{"the gateway takes the token from the Authorization header", func(e *env) {
		e.account("web", authpb.Permission_READ)
		a, err := pb.NewAuthClient(e.Conn).Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "web", Password: "web"})
		token := must(e, a, err).Token
		own, other := `{"key":"`+e.encoded("k")+`"}`, `{"key":"eA=="}`
		ok := func(answer string) bool { return strings.HasPrefix(answer, "200 ") }
		equal(e, "with it", ok(e.post("POST", "/v3/kv/range", own, "Authorization", token)), true)
		equal(e, "as a bearer", ok(e.post("POST", "/v3/kv/range", own, "Authorization", "Bearer "+token)), true)
		equal(e, "as metadata", ok(e.post("POST", "/v3/kv/range", own, "Grpc-Metadata-Token", token)), true)
		equal(e, "of another key", e.post("POST", "/v3/kv/range", other, "Authorization", token),
			`403 {"code":7,"message":"`+denied+`"}`)
		equal(e, "a bad one", e.post("POST", "/v3/kv/range", own, "Authorization", "no"),
			`401 {"code":16,"message":"`+invalidToken+`"}`)
		equal(e, "none", e.post("POST", "/v3/kv/range", own), `400 {"code":3,"message":"`+noName+`"}`)
		equal(e, "status", e.post("POST", "/v3/maintenance/status", `{}`), `400 {"code":3,"message":"`+noName+`"}`)
		login := e.post("POST", "/v3/auth/authenticate", `{"name":"web","password":"web"}`)
		equal(e, "authenticate", strings.Contains(login, `"token":"`), true)
	}},
	{"a name is limited by the size of a request", func(e *env) {
		m := e.edit()
		_, err := m.auth.RoleAdd(m.ctx, &pb.AuthRoleAddRequest{Name: strings.Repeat("x", 1600<<10)})
		fails(e, codes.InvalidArgument, "etcdserver: request is too large", 0, err)
		_, err = m.auth.UserAdd(m.ctx, &pb.AuthUserAddRequest{Name: "long", Password: strings.Repeat("x", 73)})
		fails(e, codes.Unknown, "bcrypt: password length exceeds 72 bytes", 0, err)
	}},
	{"health needs no token", func(e *env) {
		equal(e, "health", e.post("GET", "/health", ""), `200 {"health":"true","reason":""}`)
		equal(e, "ready", e.post("GET", "/readyz", ""), "200 ok\n")
	}},
	{"disabling auth invalidates all tokens", func(e *env) {
		// This rule is the last, because it affects all others.
		e.account("late", authpb.Permission_READ)
		user, m := e.as("late"), e.edit()
		_, err := m.auth.AuthDisable(m.ctx, &pb.AuthDisableRequest{})
		m.must(err)
		fails(e, codes.OK, "", 0, e.putAs(user, "k"))
		fails(e, codes.OK, "", 0, e.putAs(e.ctx, "k"))
		_, err = m.auth.Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "late", Password: "late"})
		fails(e, codes.FailedPrecondition, "etcdserver: authentication is not enabled", 0, err)
		_, err = m.auth.UserDelete(e.ctx, &pb.AuthUserDeleteRequest{Name: "root"})
		m.must(err)
		_, err = m.auth.AuthEnable(e.ctx, &pb.AuthEnableRequest{})
		fails(e, codes.FailedPrecondition, "etcdserver: root user does not exist", 0, err)
		setUp(e.ctx, e.T, e.Target).user("root")
		_, err = m.auth.AuthEnable(e.ctx, &pb.AuthEnableRequest{})
		fails(e, codes.FailedPrecondition, "etcdserver: root user does not have root role", 0, err)
		_, err = m.auth.UserGrantRole(e.ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
		m.must(err)
		setUp(e.ctx, e.T, e.Target).enable()
		fails(e, codes.Unauthenticated, invalidToken, 0, e.getAs(user, "k"))
		fails(e, codes.InvalidArgument, noName, 0, e.getAs(e.ctx, "k"))
		fails(e, codes.OK, "", 0, e.getAs(e.as("late"), "k"))
	}},
	{"users, roles and enabled auth survive a restart", func(e *env) {
		e.account("patient", authpb.Permission_READ)
		before := e.authRevision()
		must(e, 0, e.Restart(e.ctx))
		e.await(func() bool { return e.getAs(e.ctx, "k") != nil }) // connected
		fails(e, codes.InvalidArgument, noName, 0, e.getAs(e.ctx, "k"))
		user := e.as("patient")
		fails(e, codes.OK, "", 0, e.getAs(user, "k"))
		fails(e, codes.PermissionDenied, denied, 0, e.putAs(user, "k"))
		equal(e, "auth revision", e.authRevision(), before)
	}},
}
