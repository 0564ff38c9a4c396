package semantics

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// TestRandomPermissions compares the effect of several roles with overlapping, adjacent and open-ended permissions.
func TestRandomPermissions(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("STELE_TEST_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("repeat with STELE_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	keys := []string{"\x00", "a", "a\x00", "a\x00\x00", "ab", "b", "b\x00", "c", "d", "\xff", "\xff\xff"}
	// The range of a request may be empty: its end is not above its key.
	randomRange := func(empty bool) (key, end string) {
		for {
			key, end = keys[random.IntN(len(keys))], ""
			switch random.IntN(4) {
			case 0:
				return key, end
			case 1:
				return key, "\x00"
			default:
				if end = keys[random.IntN(len(keys))]; key < end || empty {
					return key, end
				}
			}
		}
	}
	servers := []*target.Target{target.Reference(t, cheapPasswords), target.Subject(t, cheapPasswords)}
	ctx, cancel := context.WithTimeout(t.Context(), ruleTimeout)
	defer cancel()
	setups := make([]setup, len(servers))
	for i, s := range servers {
		setups[i] = setUp(ctx, t, s)
		setups[i].user("root", "root")
	}
	const users = 12
	name := func(i int) string { return "user" + strconv.Itoa(i) }
	for i := range users {
		for _, m := range setups {
			m.role(name(i), "", 0)
			m.role(name(i)+"too", "", 0)
			m.user(name(i), name(i), name(i)+"too")
		}
		for range 3 + random.IntN(6) {
			key, end := randomRange(false)
			role, kind := name(i)+[]string{"", "too"}[random.IntN(2)], authpb.Permission_Type(random.IntN(3))
			for _, m := range setups {
				m.grant(role, kind, key, end)
			}
		}
	}
	permitted := 0
	tokens := make([][]context.Context, len(servers))
	for i, m := range setups {
		m.enable()
		for u := range users {
			tokens[i] = append(tokens[i], as(ctx, t, servers[i], name(u)))
		}
	}
	for u := range users {
		for range 40 {
			key, end := randomRange(true)
			read := random.IntN(2) == 0
			var outcomes [2]string
			for i, s := range servers {
				var err error
				if read {
					_, err = s.KV.Range(tokens[i][u], &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
				} else {
					_, err = s.KV.DeleteRange(tokens[i][u], &pb.DeleteRangeRequest{
						Key: []byte(key), RangeEnd: []byte(end),
					})
				}
				outcomes[i] = outcome(err)
			}
			// etcd finds or misses the permission for an empty range depending on the shape of its tree. The range has
			// no keys in either case.
			if empty := end != "" && end != "\x00" && end <= key; empty && outcomes[1] == "ok" {
				continue
			}
			if outcomes[0] != outcomes[1] {
				t.Errorf("%s, read %v, %q to %q: etcd says %s, %s %s", name(u), read, key, end, outcomes[0],
					servers[1].Name, outcomes[1])
			}
			if outcomes[0] == "ok" {
				permitted++
			}
		}
	}
	if permitted == 0 || permitted == users*40 {
		t.Errorf("%d of %d were permitted, which compares nothing", permitted, users*40)
	}
}

// TestAuthOnReplicas uses two servers on one database, over separate connections. A change that one has acknowledged
// applies on the other immediately.
func TestAuthOnReplicas(t *testing.T) {
	t.Parallel()
	endpoint := stele.Database(t, t.TempDir())
	var pair [2]*target.Target
	for i := range pair {
		s := stele.Start(t, stele.Options{Endpoint: endpoint, Args: []string{cheapPasswords}})
		conn := connect.GRPC(t, s.Target)
		pair[i] = &target.Target{Name: "stele", Address: s.Target, Process: s, Conn: conn, KV: pb.NewKVClient(conn),
			Watch: pb.NewWatchClient(conn), Maintenance: pb.NewMaintenanceClient(conn)}
	}
	envs := func(run func(a, b *env)) {
		for i := range pair {
			runAll(t, pair[i], []rule{{"from " + strconv.Itoa(i), func(a *env) {
				b := *a
				b.Target = pair[1-i]
				run(a, &b)
			}}})
		}
	}
	m := setUp(t.Context(), t, pair[0])
	m.user("root", "root")
	m.enable()
	fails(&env{T: t}, codes.InvalidArgument, noName, 0, (&env{T: t, Target: pair[1]}).putAs(t.Context(), "k"))
	envs(func(a, b *env) {
		name := "both" + b.prefix
		a.account(name, authpb.Permission_READWRITE)
		token := b.as(name)
		for range 20 {
			must(a, 0, a.putAs(token, "k"))
			must(b, 0, b.getAs(token, "k"))
			w, err := b.Watch.Watch(token)
			must(b, 0, err)
			must(b, 0, w.Send(&pb.WatchRequest{
				RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: b.key("k")}},
			}))
			created, err := w.Recv()
			equal(b, "refusal of a watch", must(b, created, err).CancelReason, "")

			edit := a.edit()
			_, err = edit.auth.UserRevokeRole(edit.ctx, &pb.AuthUserRevokeRoleRequest{Name: name, Role: name})
			edit.must(err)
			fails(b, codes.PermissionDenied, denied, 0, b.putAs(token, "k"))
			fails(b, codes.PermissionDenied, denied, 0, b.getAs(token, "k"))
			must(b, 0, w.Send(&pb.WatchRequest{
				RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: b.key("k")}},
			}))
			for created.CancelReason == "" { // the event of the first watcher may precede
				created, err = w.Recv()
				must(b, 0, err)
			}
			_, err = edit.auth.UserGrantRole(edit.ctx, &pb.AuthUserGrantRoleRequest{User: name, Role: name})
			edit.must(err)
			must(b, 0, b.putAs(token, "k"))
		}
		edit := a.edit()
		_, err := edit.auth.UserDelete(edit.ctx, &pb.AuthUserDeleteRequest{Name: name})
		edit.must(err)
		fails(b, codes.Unauthenticated, invalidToken, 0, b.putAs(token, "k"))
	})
	envs(func(a, b *env) {
		token := a.as("root")
		must(a, 0, b.Restart(a.ctx))
		a.await(func() bool { return b.getAs(token, "k") == nil }) // a token is valid without the server's state
		fails(b, codes.InvalidArgument, noName, 0, b.getAs(b.ctx, "k"))

		edit := a.edit()
		_, err := edit.auth.AuthDisable(edit.ctx, &pb.AuthDisableRequest{})
		edit.must(err)
		must(b, 0, b.putAs(b.ctx, "k"))
		_, err = pb.NewAuthClient(b.Conn).AuthEnable(b.ctx, &pb.AuthEnableRequest{})
		must(b, 0, err)
		fails(a, codes.InvalidArgument, noName, 0, a.putAs(a.ctx, "k"))
		fails(a, codes.InvalidArgument, noName, 0, a.getAs(a.ctx, "k"))
		fails(a, codes.Unauthenticated, invalidToken, 0, a.getAs(token, "k"))
		must(a, 0, a.getAs(a.as("root"), "k"))
	})
}
