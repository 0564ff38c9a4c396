package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/server/auth"
)

func (s *authServer) RoleAdd(ctx context.Context, r *pb.AuthRoleAddRequest) (*pb.AuthRoleAddResponse, error) {
	header, err := s.extend(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.AddRole(r.Name) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleAddResponse{Header: header}, nil
}

func (s *authServer) RoleGet(ctx context.Context, r *pb.AuthRoleGetRequest) (*pb.AuthRoleGetResponse, error) {
	resp := &pb.AuthRoleGetResponse{}
	var err error
	resp.Header, err = s.edit(ctx, r, func(st *auth.State) (_ auth.Changes, err error) {
		resp.Perm, err = st.Role(r.Role)
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *authServer) RoleList(ctx context.Context, r *pb.AuthRoleListRequest) (*pb.AuthRoleListResponse, error) {
	resp := &pb.AuthRoleListResponse{}
	var err error
	resp.Header, err = s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) {
		resp.Roles = st.Roles()
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *authServer) RoleDelete(ctx context.Context, r *pb.AuthRoleDeleteRequest) (*pb.AuthRoleDeleteResponse, error) {
	header, err := s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.DeleteRole(r.Role) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleDeleteResponse{Header: header}, nil
}

func (s *authServer) RoleGrantPermission(ctx context.Context, r *pb.AuthRoleGrantPermissionRequest) (*pb.AuthRoleGrantPermissionResponse, error) {
	header, err := s.extend(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.GrantPermission(r.Name, r.Perm) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleGrantPermissionResponse{Header: header}, nil
}

func (s *authServer) RoleRevokePermission(ctx context.Context, r *pb.AuthRoleRevokePermissionRequest) (*pb.AuthRoleRevokePermissionResponse, error) {
	header, err := s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.RevokePermission(r.Role, r.Key, r.RangeEnd) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthRoleRevokePermissionResponse{Header: header}, nil
}
