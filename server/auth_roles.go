package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/server/auth"
)

func (s *authServer) RoleAdd(ctx context.Context, r *pb.AuthRoleAddRequest) (*pb.AuthRoleAddResponse, error) {
	resp := &pb.AuthRoleAddResponse{}
	err := s.extend(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) { return st.AddRole(r.Name) })
	return respond(resp, err)
}

func (s *authServer) RoleGet(ctx context.Context, r *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	resp := &pb.AuthRoleGetResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (_ auth.Changes, err error) {
		resp.Perm, err = st.Role(r.Role)
		return nil, err
	}))
}

func (s *authServer) RoleList(ctx context.Context, r *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	resp := &pb.AuthRoleListResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		resp.Roles = st.Roles()
		return nil, nil
	}))
}

func (s *authServer) RoleDelete(ctx context.Context, r *pb.AuthRoleDeleteRequest) (*pb.AuthRoleDeleteResponse, error) {
	resp := &pb.AuthRoleDeleteResponse{}
	err := s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) { return st.DeleteRole(r.Role) })
	return respond(resp, err)
}

func (s *authServer) RoleGrantPermission(
	ctx context.Context, r *pb.AuthRoleGrantPermissionRequest,
) (*pb.AuthRoleGrantPermissionResponse, error) {
	resp := &pb.AuthRoleGrantPermissionResponse{}
	return respond(resp, s.extend(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		return st.GrantPermission(r.Name, r.Perm)
	}))
}

func (s *authServer) RoleRevokePermission(
	ctx context.Context, r *pb.AuthRoleRevokePermissionRequest,
) (*pb.AuthRoleRevokePermissionResponse, error) {
	resp := &pb.AuthRoleRevokePermissionResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		return st.RevokePermission(r.Role, r.Key, r.RangeEnd)
	}))
}
