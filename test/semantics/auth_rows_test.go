package semantics

import (
	"context"
	"errors"
	"io"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var matrixRows = [][]row{
	keyRows, txnRows, watchRows, leaseRows, lockMatrixRows, maintenanceRows, userRows, roleRows, lastRows,
}

func rangeRow(name, key, end string) row {
	return row{name: "range " + name, do: func(c *cell) error {
		_, err := c.KV.Range(c.ctx, &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)})
		return err
	}}
}

func putRow(name string, r func(c *cell) *pb.PutRequest) row {
	return row{name: "put " + name, do: func(c *cell) error {
		_, err := c.KV.Put(c.ctx, r(c))
		return err
	}}
}

func deleteRow(name, key, end string, prev bool) row {
	return row{name: "delete " + name, do: func(c *cell) error {
		_, err := c.KV.DeleteRange(c.ctx, &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end), PrevKv: prev})
		return err
	}}
}

var keyRows = []row{
	rangeRow("pub/a", "pub/a", ""),
	rangeRow("pub/*", "pub/", "pub0"),
	rangeRow("sec/a", "sec/a", ""),
	rangeRow("pub/ and more", "pub/", "pub1"),
	rangeRow("pub/ to the end", "pub/", "\x00"),
	rangeRow("all", "\x00", "\x00"),
	rangeRow("without a key", "", ""),
	{name: "range stream pub/*", do: func(c *cell) error {
		s, err := c.KV.RangeStream(c.ctx, &pb.RangeRequest{Key: []byte("pub/"), RangeEnd: []byte("pub0")})
		for err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}},
	putRow("pub/x", func(*cell) *pb.PutRequest { return &pb.PutRequest{Key: []byte("pub/x")} }),
	putRow("pub/x, prev_kv", func(*cell) *pb.PutRequest { return &pb.PutRequest{Key: []byte("pub/x"), PrevKv: true} }),
	putRow("sec/x", func(*cell) *pb.PutRequest { return &pb.PutRequest{Key: []byte("sec/x")} }),
	putRow("pub/x, lease of pub", func(c *cell) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte("pub/x"), Lease: c.pub}
	}),
	putRow("pub/x, lease of sec", func(c *cell) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte("pub/x"), Lease: c.sec}
	}),
	putRow("pub/x, no such lease", func(*cell) *pb.PutRequest {
		return &pb.PutRequest{Key: []byte("pub/x"), Lease: 99}
	}),
	deleteRow("pub/x", "pub/x", "", false),
	deleteRow("pub/x, prev_kv", "pub/x", "", true),
	deleteRow("pub/x*", "pub/x", "pub/y", false),
	deleteRow("sec/x", "sec/x", "", false),
	deleteRow("pub/x to sec", "pub/x", "sec/", false),
	{name: "compact", do: func(c *cell) error {
		_, err := c.KV.Compact(c.ctx, &pb.CompactionRequest{Revision: 1 << 40})
		return err
	}},
}

func txnRow(name string, r *pb.TxnRequest) row {
	return row{name: "txn: " + name, do: func(c *cell) error {
		_, err := c.KV.Txn(c.ctx, r)
		return err
	}}
}

var (
	pubKey, secKey = []byte("pub/x"), []byte("sec/x")
	readPub        = rangeOp(&pb.RangeRequest{Key: pubKey})
	readSec        = rangeOp(&pb.RangeRequest{Key: secKey})
	there          = []*pb.Compare{version(pubKey, pb.Compare_GREATER, -1)}
)

var txnRows = []row{
	txnRow("empty", &pb.TxnRequest{}),
	txnRow("compare pub", &pb.TxnRequest{Compare: there}),
	txnRow("compare sec", &pb.TxnRequest{Compare: []*pb.Compare{version(secKey, pb.Compare_GREATER, -1)}}),
	txnRow("range pub", &pb.TxnRequest{Success: []*pb.RequestOp{readPub}}),
	txnRow("range sec not taken", &pb.TxnRequest{Compare: there, Failure: []*pb.RequestOp{readSec}}),
	txnRow("put pub", &pb.TxnRequest{Success: []*pb.RequestOp{putOp(pubKey, "")}}),
	txnRow("put pub, range pub", &pb.TxnRequest{Success: []*pb.RequestOp{putOp(pubKey, ""), readPub}}),
	txnRow("put sec not taken", &pb.TxnRequest{Failure: []*pb.RequestOp{putOp(secKey, "")}}),
	txnRow("delete pub", &pb.TxnRequest{Success: []*pb.RequestOp{deleteOp(pubKey, nil)}}),
	txnRow("nested, put pub", &pb.TxnRequest{
		Success: []*pb.RequestOp{txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(pubKey, "")}})},
	}),
	txnRow("nested, put sec not taken", &pb.TxnRequest{
		Success: []*pb.RequestOp{txnOp(&pb.TxnRequest{Failure: []*pb.RequestOp{putOp(secKey, "")}})},
	}),
	txnRow("nested, compare sec", &pb.TxnRequest{Success: []*pb.RequestOp{
		txnOp(&pb.TxnRequest{Compare: []*pb.Compare{version(secKey, pb.Compare_GREATER, -1)}}),
	}}),
}

// watchAs creates a watch and returns the error of the creation.
func (c *cell) watchAs(r *pb.WatchCreateRequest) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	s, err := c.Watch.Watch(ctx)
	if err != nil {
		return err
	}
	if err := s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}}); err != nil {
		return err
	}
	a, err := s.Recv()
	return first(a, err, func(a *pb.WatchResponse) error {
		if a.CancelReason != "" {
			return status.Error(codes.Aborted, a.CancelReason)
		}
		return nil
	})
}

func watchRow(name, key, end string) row {
	return row{name: "watch " + name, do: func(c *cell) error {
		return c.watchAs(&pb.WatchCreateRequest{Key: []byte(key), RangeEnd: []byte(end)})
	}}
}

var watchRows = []row{
	watchRow("pub/a", "pub/a", ""),
	watchRow("pub/*", "pub/", "pub0"),
	watchRow("sec/a", "sec/a", ""),
	watchRow("pub/ to the end", "pub/", "\x00"),
	watchRow("all, without a key", "", "\x00"),
	{name: "watch from before the first", do: func(c *cell) error {
		return c.watchAs(&pb.WatchCreateRequest{Key: secKey, StartRevision: -1})
	}},
}

func (c *cell) keepAlive(id int64) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	s, err := c.Lease.LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := s.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
		return err
	}
	_, err = s.Recv()
	return err
}

// leased adds a lease with a key, as root.
func (c *cell) leased(key string) int64 {
	l, err := c.Lease.LeaseGrant(c.root, &pb.LeaseGrantRequest{TTL: 1000})
	c.must(err)
	_, err = c.KV.Put(c.root, &pb.PutRequest{Key: []byte(key), Lease: l.GetID()})
	c.must(err)
	return l.GetID()
}

func leaseRow(name string, do func(c *cell) error) row { return row{name: "lease " + name, do: do} }

func revokeRow(name, key string) row {
	return leaseRow("revoke "+name, func(c *cell) error {
		_, err := c.Lease.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{ID: c.leased(key)})
		return err
	})
}

func timeToLiveRow(name string, keys bool, id func(c *cell) int64) row {
	return leaseRow("time to live "+name, func(c *cell) error {
		_, err := c.Lease.LeaseTimeToLive(c.ctx, &pb.LeaseTimeToLiveRequest{ID: id(c), Keys: keys})
		return err
	})
}

var leaseRows = []row{
	leaseRow("grant", func(c *cell) error {
		_, err := c.Lease.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 1000})
		return err
	}),
	leaseRow("grant, too long", func(c *cell) error {
		_, err := c.Lease.LeaseGrant(c.ctx, &pb.LeaseGrantRequest{TTL: 9_000_000_001})
		return err
	}),
	leaseRow("keep alive pub", func(c *cell) error { return c.keepAlive(c.pub) }),
	leaseRow("keep alive sec", func(c *cell) error { return c.keepAlive(c.sec) }),
	leaseRow("keep alive, no such", func(c *cell) error { return c.keepAlive(99) }),
	revokeRow("of pub", "pub/revoked"),
	revokeRow("of sec", "sec/revoked"),
	leaseRow("revoke, no such", func(c *cell) error {
		_, err := c.Lease.LeaseRevoke(c.ctx, &pb.LeaseRevokeRequest{ID: 99})
		return err
	}),
	timeToLiveRow("of sec", false, func(c *cell) int64 { return c.sec }),
	timeToLiveRow("and keys of pub", true, func(c *cell) int64 { return c.pub }),
	timeToLiveRow("and keys of sec", true, func(c *cell) int64 { return c.sec }),
	timeToLiveRow("and keys, no such", true, func(*cell) int64 { return 99 }),
	leaseRow("list", func(c *cell) error {
		_, err := c.Lease.LeaseLeases(c.ctx, &pb.LeaseLeasesRequest{})
		return err
	}),
}

func lockRow(name string, do func(c *cell) error) row {
	return row{name: name, message: true, do: do}
}

func (c *cell) election() v3electionpb.ElectionClient { return v3electionpb.NewElectionClient(c.Conn) }

func (c *cell) lockAs(name string) error {
	l, err := c.Lease.LeaseGrant(c.root, &pb.LeaseGrantRequest{TTL: 1000})
	c.must(err)
	_, err = v3lockpb.NewLockClient(c.Conn).Lock(c.ctx, &v3lockpb.LockRequest{
		Name: []byte(c.unique(name)), Lease: l.GetID(),
	})
	return err
}

var lockMatrixRows = []row{
	lockRow("lock pub", func(c *cell) error { return c.lockAs("pub/lock") }),
	lockRow("lock sec", func(c *cell) error { return c.lockAs("sec/lock") }),
	lockRow("unlock pub", func(c *cell) error {
		_, err := v3lockpb.NewLockClient(c.Conn).Unlock(c.ctx, &v3lockpb.UnlockRequest{Key: []byte("pub/unlocked")})
		return err
	}),
	lockRow("campaign pub", func(c *cell) error {
		l, err := c.Lease.LeaseGrant(c.root, &pb.LeaseGrantRequest{TTL: 1000})
		c.must(err)
		_, err = c.election().Campaign(c.ctx, &v3electionpb.CampaignRequest{
			Name: []byte(c.unique("pub/election")), Lease: l.GetID(), Value: []byte("v"),
		})
		return err
	}),
	lockRow("leader pub", func(c *cell) error {
		_, err := c.election().Leader(c.ctx, &v3electionpb.LeaderRequest{Name: []byte("pub/election-root")})
		return err
	}),
	lockRow("resign pub", func(c *cell) error {
		_, err := c.election().Resign(c.ctx, &v3electionpb.ResignRequest{
			Leader: &v3electionpb.LeaderKey{Key: []byte("pub/none"), Rev: 1},
		})
		return err
	}),
	lockRow("proclaim pub", func(c *cell) error {
		_, err := c.election().Proclaim(c.ctx, &v3electionpb.ProclaimRequest{
			Leader: &v3electionpb.LeaderKey{Key: []byte("pub/none"), Rev: 1},
		})
		return err
	}),
}

func maintenanceRow(name string, do func(c *cell) error) row {
	return row{name: name, permission: true, do: do}
}

var maintenanceRows = []row{
	maintenanceRow("status", func(c *cell) error {
		_, err := c.Maintenance.Status(c.ctx, &pb.StatusRequest{})
		return err
	}),
	maintenanceRow("defragment", func(c *cell) error {
		_, err := c.Maintenance.Defragment(c.ctx, &pb.DefragmentRequest{})
		return err
	}),
	maintenanceRow("hash", func(c *cell) error {
		_, err := c.Maintenance.Hash(c.ctx, &pb.HashRequest{})
		return err
	}),
	maintenanceRow("hash KV", func(c *cell) error {
		_, err := c.Maintenance.HashKV(c.ctx, &pb.HashKVRequest{})
		return err
	}),
	maintenanceRow("snapshot", func(c *cell) error {
		s, err := c.Maintenance.Snapshot(c.ctx, &pb.SnapshotRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}),
	maintenanceRow("alarm list", func(c *cell) error {
		_, err := c.Maintenance.Alarm(c.ctx, &pb.AlarmRequest{})
		return err
	}),
	maintenanceRow("alarm disarm", func(c *cell) error {
		_, err := c.Maintenance.Alarm(c.ctx, &pb.AlarmRequest{
			Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE,
		})
		return err
	}),
	maintenanceRow("move leader", func(c *cell) error {
		_, err := c.Maintenance.MoveLeader(c.ctx, &pb.MoveLeaderRequest{TargetID: 1})
		return err
	}),
	maintenanceRow("downgrade", func(c *cell) error {
		_, err := c.Maintenance.Downgrade(c.ctx, &pb.DowngradeRequest{Version: "1.0"})
		return err
	}),
	maintenanceRow("member list", func(c *cell) error {
		_, err := c.Cluster.MemberList(c.ctx, &pb.MemberListRequest{})
		return err
	}),
	maintenanceRow("member add", func(c *cell) error {
		members, err := c.Cluster.MemberList(c.root, &pb.MemberListRequest{})
		c.must(err)
		// The URL exists already, so that etcd does not wait for a new member.
		urls := append(members.GetMembers()[0].PeerURLs, "http://127.0.0.1:1")[:1]
		_, err = c.Cluster.MemberAdd(c.ctx, &pb.MemberAddRequest{PeerURLs: urls})
		return err
	}),
	maintenanceRow("member remove", func(c *cell) error {
		_, err := c.Cluster.MemberRemove(c.ctx, &pb.MemberRemoveRequest{ID: 1})
		return err
	}),
	maintenanceRow("member update", func(c *cell) error {
		_, err := c.Cluster.MemberUpdate(c.ctx, &pb.MemberUpdateRequest{
			ID: 1, PeerURLs: []string{"http://127.0.0.1:1"},
		})
		return err
	}),
	maintenanceRow("member promote", func(c *cell) error {
		_, err := c.Cluster.MemberPromote(c.ctx, &pb.MemberPromoteRequest{ID: 1})
		return err
	}),
}

// addedUser and addedRole add a user and a role as root.
func (c *cell) addedUser(name string) string {
	_, err := c.auth().UserAdd(c.root, &pb.AuthUserAddRequest{Name: c.unique(name), Password: "x"})
	c.must(err)
	return c.unique(name)
}

func (c *cell) addedRole(name string) string {
	_, err := c.auth().RoleAdd(c.root, &pb.AuthRoleAddRequest{Name: c.unique(name)})
	c.must(err)
	return c.unique(name)
}

func userAddRow(name string, r func(c *cell) *pb.AuthUserAddRequest) row {
	return row{name: "user add " + name, do: func(c *cell) error {
		_, err := c.auth().UserAdd(c.ctx, r(c))
		return err
	}}
}

func authenticateRow(name, user, password string) row {
	return row{name: "authenticate " + name, do: func(c *cell) error {
		_, err := c.auth().Authenticate(c.ctx, &pb.AuthenticateRequest{Name: user, Password: password})
		return err
	}}
}

func userRow(name string, do func(c *cell) error) row { return row{name: "user " + name, do: do} }

var userRows = []row{
	authenticateRow("reader", "reader", "reader"),
	authenticateRow("wrong password", "reader", "root"),
	authenticateRow("no such user", "absent", "x"),
	authenticateRow("user without password", "certain", "x"),
	authenticateRow("without a name", "", ""),
	{name: "auth status", do: func(c *cell) error {
		_, err := c.auth().AuthStatus(c.ctx, &pb.AuthStatusRequest{})
		return err
	}},
	userAddRow("new", func(c *cell) *pb.AuthUserAddRequest {
		return &pb.AuthUserAddRequest{Name: c.unique("new"), Password: "x"}
	}),
	userAddRow("without password", func(c *cell) *pb.AuthUserAddRequest {
		return &pb.AuthUserAddRequest{Name: c.unique("certain"), Options: &authpb.UserAddOptions{NoPassword: true}}
	}),
	userAddRow("without a name", func(*cell) *pb.AuthUserAddRequest { return &pb.AuthUserAddRequest{Password: "x"} }),
	userAddRow("that exists", func(*cell) *pb.AuthUserAddRequest {
		return &pb.AuthUserAddRequest{Name: "reader", Password: "x"}
	}),
	userRow("get itself", func(c *cell) error {
		_, err := c.auth().UserGet(c.ctx, &pb.AuthUserGetRequest{Name: c.sender})
		return err
	}),
	userRow("get root", func(c *cell) error {
		_, err := c.auth().UserGet(c.ctx, &pb.AuthUserGetRequest{Name: "root"})
		return err
	}),
	userRow("get, no such", func(c *cell) error {
		_, err := c.auth().UserGet(c.ctx, &pb.AuthUserGetRequest{Name: "absent"})
		return err
	}),
	userRow("get, without a name", func(c *cell) error {
		_, err := c.auth().UserGet(c.ctx, &pb.AuthUserGetRequest{})
		return err
	}),
	userRow("list", func(c *cell) error {
		_, err := c.auth().UserList(c.ctx, &pb.AuthUserListRequest{})
		return err
	}),
	userRow("delete", func(c *cell) error {
		_, err := c.auth().UserDelete(c.ctx, &pb.AuthUserDeleteRequest{Name: c.addedUser("deleted")})
		return err
	}),
	userRow("delete root", func(c *cell) error {
		_, err := c.auth().UserDelete(c.ctx, &pb.AuthUserDeleteRequest{Name: "root"})
		return err
	}),
	userRow("delete, no such", func(c *cell) error {
		_, err := c.auth().UserDelete(c.ctx, &pb.AuthUserDeleteRequest{Name: "absent"})
		return err
	}),
	userRow("change password", func(c *cell) error {
		_, err := c.auth().UserChangePassword(c.ctx, &pb.AuthUserChangePasswordRequest{
			Name: c.addedUser("changed"), Password: "y",
		})
		return err
	}),
	userRow("change password by hash", func(c *cell) error {
		_, err := c.auth().UserChangePassword(c.ctx, &pb.AuthUserChangePasswordRequest{
			Name: c.addedUser("hashed"), HashedPassword: "aGFzaA==",
		})
		return err
	}),
	userRow("change password by no hash", func(c *cell) error {
		_, err := c.auth().UserChangePassword(c.ctx, &pb.AuthUserChangePasswordRequest{
			Name: c.addedUser("unhashed"), HashedPassword: "#",
		})
		return err
	}),
	userRow("change password, no such", func(c *cell) error {
		_, err := c.auth().UserChangePassword(c.ctx, &pb.AuthUserChangePasswordRequest{Name: "absent", Password: "y"})
		return err
	}),
	userRow("grant role", func(c *cell) error {
		_, err := c.auth().UserGrantRole(c.ctx, &pb.AuthUserGrantRoleRequest{
			User: c.addedUser("granted"), Role: "reader",
		})
		return err
	}),
	userRow("grant role again", func(c *cell) error {
		_, err := c.auth().UserGrantRole(c.ctx, &pb.AuthUserGrantRoleRequest{User: "both", Role: "reader"})
		return err
	}),
	userRow("grant role, no such role", func(c *cell) error {
		_, err := c.auth().UserGrantRole(c.ctx, &pb.AuthUserGrantRoleRequest{User: "both", Role: "absent"})
		return err
	}),
	userRow("grant role, no such user", func(c *cell) error {
		_, err := c.auth().UserGrantRole(c.ctx, &pb.AuthUserGrantRoleRequest{User: "absent", Role: "absent"})
		return err
	}),
	userRow("revoke role", func(c *cell) error {
		name := c.addedUser("revoked")
		_, err := c.auth().UserGrantRole(c.root, &pb.AuthUserGrantRoleRequest{User: name, Role: "reader"})
		c.must(err)
		_, err = c.auth().UserRevokeRole(c.ctx, &pb.AuthUserRevokeRoleRequest{Name: name, Role: "reader"})
		return err
	}),
	userRow("revoke role, not granted", func(c *cell) error {
		_, err := c.auth().UserRevokeRole(c.ctx, &pb.AuthUserRevokeRoleRequest{Name: "reader", Role: "writer"})
		return err
	}),
	userRow("revoke root from root", func(c *cell) error {
		_, err := c.auth().UserRevokeRole(c.ctx, &pb.AuthUserRevokeRoleRequest{Name: "root", Role: "root"})
		return err
	}),
}

func roleRow(name string, do func(c *cell) error) row { return row{name: "role " + name, do: do} }

func (c *cell) grantTo(role string, p *authpb.Permission) error {
	_, err := c.auth().RoleGrantPermission(c.ctx, &pb.AuthRoleGrantPermissionRequest{Name: role, Perm: p})
	return err
}

func permission(key, end string) *authpb.Permission {
	return &authpb.Permission{PermType: authpb.Permission_READ, Key: []byte(key), RangeEnd: []byte(end)}
}

var roleRows = []row{
	roleRow("add", func(c *cell) error {
		_, err := c.auth().RoleAdd(c.ctx, &pb.AuthRoleAddRequest{Name: c.unique("new")})
		return err
	}),
	roleRow("add, without a name", func(c *cell) error {
		_, err := c.auth().RoleAdd(c.ctx, &pb.AuthRoleAddRequest{})
		return err
	}),
	roleRow("add, that exists", func(c *cell) error {
		_, err := c.auth().RoleAdd(c.ctx, &pb.AuthRoleAddRequest{Name: "reader"})
		return err
	}),
	roleRow("get reader", func(c *cell) error {
		_, err := c.auth().RoleGet(c.ctx, &pb.AuthRoleGetRequest{Role: "reader"})
		return err
	}),
	roleRow("get root", func(c *cell) error {
		_, err := c.auth().RoleGet(c.ctx, &pb.AuthRoleGetRequest{Role: "root"})
		return err
	}),
	roleRow("get, no such", func(c *cell) error {
		_, err := c.auth().RoleGet(c.ctx, &pb.AuthRoleGetRequest{Role: "absent"})
		return err
	}),
	roleRow("list", func(c *cell) error {
		_, err := c.auth().RoleList(c.ctx, &pb.AuthRoleListRequest{})
		return err
	}),
	roleRow("delete", func(c *cell) error {
		_, err := c.auth().RoleDelete(c.ctx, &pb.AuthRoleDeleteRequest{Role: c.addedRole("deleted")})
		return err
	}),
	roleRow("delete root", func(c *cell) error {
		_, err := c.auth().RoleDelete(c.ctx, &pb.AuthRoleDeleteRequest{Role: "root"})
		return err
	}),
	roleRow("delete, no such", func(c *cell) error {
		_, err := c.auth().RoleDelete(c.ctx, &pb.AuthRoleDeleteRequest{Role: "absent"})
		return err
	}),
	roleRow("grant permission", func(c *cell) error { return c.grantTo(c.addedRole("granted"), permission("k", "")) }),
	roleRow("grant permission, none", func(c *cell) error { return c.grantTo("reader", nil) }),
	roleRow("grant permission, no key", func(c *cell) error { return c.grantTo("reader", permission("", "\x00")) }),
	roleRow("grant permission, end before key", func(c *cell) error {
		return c.grantTo("reader", permission("b", "a"))
	}),
	roleRow("grant permission, no such role", func(c *cell) error { return c.grantTo("absent", permission("a", "b")) }),
	roleRow("revoke permission", func(c *cell) error {
		name := c.addedRole("revoked")
		_, err := c.auth().RoleGrantPermission(c.root, &pb.AuthRoleGrantPermissionRequest{
			Name: name, Perm: permission("k", "l"),
		})
		c.must(err)
		_, err = c.auth().RoleRevokePermission(c.ctx, &pb.AuthRoleRevokePermissionRequest{
			Role: name, Key: []byte("k"), RangeEnd: []byte("l"),
		})
		return err
	}),
	roleRow("revoke permission, not granted", func(c *cell) error {
		_, err := c.auth().RoleRevokePermission(c.ctx, &pb.AuthRoleRevokePermissionRequest{
			Role: "reader", Key: []byte("k"),
		})
		return err
	}),
	roleRow("revoke permission, no such role", func(c *cell) error {
		_, err := c.auth().RoleRevokePermission(c.ctx, &pb.AuthRoleRevokePermissionRequest{
			Role: "absent", Key: []byte("k"),
		})
		return err
	}),
}

// lastRows end the matrix, because root, the last sender, disables auth.
var lastRows = []row{
	{name: "auth enable", do: func(c *cell) error {
		_, err := c.auth().AuthEnable(c.ctx, &pb.AuthEnableRequest{})
		return err
	}},
	{name: "auth disable", do: func(c *cell) error {
		_, err := c.auth().AuthDisable(c.ctx, &pb.AuthDisableRequest{})
		return err
	}},
	{name: "afterwards, range all", do: func(c *cell) error {
		_, err := c.KV.Range(c.ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
		return err
	}},
}
