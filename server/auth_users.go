package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/server/auth"
)

// hash hashes a password for storage. Hashing is expensive, so it is done only for clients that may make request r, and
// clients take turns.
func (s *authServer) hash(ctx context.Context, r any, password string) (hash []byte, err error) {
	if err := s.auth.permitted(ctx, r); err != nil {
		return nil, authStatus(err)
	}
	err = s.passwords.do(ctx, func() error {
		hash, err = auth.Hash(password, s.auth.bcryptCost)
		return err
	})
	return hash, authStatus(err)
}

func (s *authServer) UserAdd(ctx context.Context, r *pb.AuthUserAddRequest) (*pb.AuthUserAddResponse, error) {
	var hash []byte
	var err error
	if !r.GetOptions().GetNoPassword() {
		if hash, err = s.hash(ctx, r, r.Password); err != nil {
			return nil, err
		}
	}
	resp := &pb.AuthUserAddResponse{}
	return respond(resp, s.extend(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		return st.AddUser(r.Name, hash, r.Options)
	}))
}

func (s *authServer) UserGet(ctx context.Context, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	resp := &pb.AuthUserGetResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (_ auth.Changes, err error) {
		resp.Roles, err = st.User(r.Name)
		return nil, err
	}))
}

func (s *authServer) UserList(ctx context.Context, r *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	resp := &pb.AuthUserListResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		resp.Users = st.Users()
		return nil, nil
	}))
}

func (s *authServer) UserDelete(ctx context.Context, r *pb.AuthUserDeleteRequest) (*pb.AuthUserDeleteResponse, error) {
	resp := &pb.AuthUserDeleteResponse{}
	err := s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) { return st.DeleteUser(r.Name) })
	return respond(resp, err)
}

func (s *authServer) UserChangePassword(
	ctx context.Context, r *pb.AuthUserChangePasswordRequest,
) (*pb.AuthUserChangePasswordResponse, error) {
	var hash []byte
	var invalid error // of a hash that the client sent; reported only to clients that may make the request
	if r.Password != "" {
		var err error
		if hash, err = s.hash(ctx, r, r.Password); err != nil {
			return nil, err
		}
	} else {
		hash, invalid = auth.DecodeHash(r.HashedPassword, s.auth.bcryptCost)
	}
	resp := &pb.AuthUserChangePasswordResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		if invalid != nil {
			return nil, invalid
		}
		return st.ChangePassword(r.Name, hash)
	}))
}

func (s *authServer) UserGrantRole(
	ctx context.Context, r *pb.AuthUserGrantRoleRequest,
) (*pb.AuthUserGrantRoleResponse, error) {
	resp := &pb.AuthUserGrantRoleResponse{}
	return respond(resp, s.extend(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		return st.GrantRole(r.User, r.Role)
	}))
}

func (s *authServer) UserRevokeRole(
	ctx context.Context, r *pb.AuthUserRevokeRoleRequest,
) (*pb.AuthUserRevokeRoleResponse, error) {
	resp := &pb.AuthUserRevokeRoleResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		return st.RevokeRole(r.Name, r.Role)
	}))
}
