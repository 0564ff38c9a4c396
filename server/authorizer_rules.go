package server

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
)

// permit returns nil if id may make request r while auth is enabled. It knows all requests of etcd's services other
// than Authenticate, and refuses any other message.
func permit(st *auth.State, id auth.Identity, r any, at logstructured.Moment) error {
	switch r := r.(type) {
	case *pb.RangeRequest:
		if err := st.Read(id, r.Key, r.RangeEnd); err != nil {
			return err
		}
		return st.Current(id)
	case *pb.PutRequest:
		return permitPut(st, id, r, at)
	case *pb.DeleteRangeRequest:
		if err := st.Write(id, r.Key, r.RangeEnd); err != nil || !r.PrevKv {
			return err
		}
		return st.Read(id, r.Key, r.RangeEnd)
	case *pb.TxnRequest:
		if err := permitTxn(st, id, r, at); err != nil || !readOnly(r) {
			return err
		}
		return st.Current(id)
	case *pb.WatchCreateRequest:
		key := r.Key
		if len(key) == 0 {
			key = []byte{0}
		}
		return st.Read(id, key, r.RangeEnd)
	case *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest, *pb.LeaseKeepAliveRequest,
		*pb.LeaseTimeToLiveRequest, *pb.LeaseLeasesRequest:
		return permitLease(st, id, r, at)
	}
	return permitOther(st, id, r)
}

// permitPut also requires write permission on all keys of the lease: the client could make them expire with the lease.
func permitPut(st *auth.State, id auth.Identity, r *pb.PutRequest, at logstructured.Moment) error {
	if err := st.Write(id, r.Key, nil); err != nil {
		return err
	}
	if err := permitLeaseKeys(st, id, r.Lease, at); err != nil || !r.PrevKv {
		return err
	}
	return st.Read(id, r.Key, nil)
}

// permitTxn requires permission for the operations of both branches, whichever is taken.
func permitTxn(st *auth.State, id auth.Identity, r *pb.TxnRequest, at logstructured.Moment) error {
	for _, c := range r.Compare {
		if err := st.Read(id, c.Key, c.RangeEnd); err != nil {
			return err
		}
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if err := permitOp(st, id, op, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func permitOp(st *auth.State, id auth.Identity, op *pb.RequestOp, at logstructured.Moment) error {
	switch o := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		return st.Read(id, o.RequestRange.Key, o.RequestRange.RangeEnd)
	case *pb.RequestOp_RequestPut:
		return permitPut(st, id, o.RequestPut, at)
	case *pb.RequestOp_RequestDeleteRange:
		d := o.RequestDeleteRange
		if d.PrevKv {
			if err := st.Read(id, d.Key, d.RangeEnd); err != nil {
				return err
			}
		}
		return st.Write(id, d.Key, d.RangeEnd)
	case *pb.RequestOp_RequestTxn:
		return permitTxn(st, id, o.RequestTxn, at)
	}
	return nil // an empty operation
}

func permitLease(st *auth.State, id auth.Identity, r any, at logstructured.Moment) error {
	if err := st.Known(id); err != nil {
		return err
	}
	switch r := r.(type) {
	case *pb.LeaseRevokeRequest:
		return permitLeaseKeys(st, id, r.ID, at)
	case *pb.LeaseKeepAliveRequest:
		return permitLeaseKeys(st, id, r.ID, at)
	case *pb.LeaseTimeToLiveRequest:
		if !r.Keys || st.Admin(id) == nil {
			return nil
		}
		for _, key := range at.LeaseKeys(logstructured.LeaseID(r.ID)) {
			if err := st.Read(id, []byte(key), nil); err != nil {
				return err
			}
		}
	case *pb.LeaseLeasesRequest:
		if st.Admin(id) == nil {
			return nil
		}
		var err error
		at.LeasedKeys(func(key string) bool {
			err = st.Read(id, []byte(key), nil)
			return err == nil
		})
		return err
	}
	return nil
}

// permitLeaseKeys requires write permission on all keys of a lease.
func permitLeaseKeys(st *auth.State, id auth.Identity, lease int64, at logstructured.Moment) error {
	if lease == 0 || st.Admin(id) == nil {
		return nil
	}
	for _, key := range at.LeaseKeys(logstructured.LeaseID(lease)) {
		if err := st.Write(id, []byte(key), nil); err != nil {
			return err
		}
	}
	return nil
}

// permitOther checks requests that are not about keys.
func permitOther(st *auth.State, id auth.Identity, r any) error {
	switch r := r.(type) {
	case *pb.AuthStatusRequest:
		return nil // permitted without a token, or with a valid one
	case *pb.AuthUserGetRequest:
		if r.Name == id.User {
			return nil
		}
	case *pb.AuthRoleGetRequest:
		if st.HasRole(id, r.Role) {
			return nil
		}
	case *pb.StatusRequest, *pb.MemberListRequest:
		return st.Known(id)
	case *pb.AlarmRequest:
		if r.Action == pb.AlarmRequest_GET {
			return st.Known(id)
		}
	case *pb.CompactionRequest,
		*pb.DefragmentRequest, *pb.HashRequest, *pb.HashKVRequest, *pb.SnapshotRequest,
		*pb.MoveLeaderRequest, *pb.DowngradeRequest,
		*pb.MemberAddRequest, *pb.MemberRemoveRequest, *pb.MemberUpdateRequest, *pb.MemberPromoteRequest,
		*pb.AuthEnableRequest, *pb.AuthDisableRequest,
		*pb.AuthUserAddRequest, *pb.AuthUserDeleteRequest, *pb.AuthUserListRequest, *pb.AuthUserChangePasswordRequest,
		*pb.AuthUserGrantRoleRequest, *pb.AuthUserRevokeRoleRequest,
		*pb.AuthRoleAddRequest, *pb.AuthRoleDeleteRequest, *pb.AuthRoleListRequest,
		*pb.AuthRoleGrantPermissionRequest, *pb.AuthRoleRevokePermissionRequest:
	default:
		return rpctypes.ErrGRPCPermissionDenied
	}
	return st.Admin(id)
}
