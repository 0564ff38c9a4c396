package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/server/auth"
)

// hash hashes a password for storage. Hashing is expensive, so it is done only for clients that may make request r, and
// clients take turns.
func (s *authServer) hash(ctx context.Context, r any, password string) ([]byte, error) {
	if err := s.auth.permitted(ctx, r); err != nil {
		return nil, authStatus(err)
	}
	var hash []byte
	err := s.passwords.do(ctx, func() (err error) {
		hash, err = auth.Hash(password, s.auth.bcryptCost)
		return err
	})
	if err != nil {
		return nil, authStatus(err)
	}
	return hash, nil
}

func (s *authServer) UserAdd(ctx context.Context, r *pb.AuthUserAddRequest) (*pb.AuthUserAddResponse, error) {
	var hash []byte
	var err error
	if !r.GetOptions().GetNoPassword() {
		if hash, err = s.hash(ctx, r, r.Password); err != nil {
			return nil, err
		}
	}
	header, err := s.extend(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.AddUser(r.Name, hash, r.Options) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserAddResponse{Header: header}, nil
}

func (s *authServer) UserGet(ctx context.Context, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	resp := &pb.AuthUserGetResponse{}
	var err error
	resp.Header, err = s.edit(ctx, r, func(st *auth.State) (_ auth.Changes, err error) {
		resp.Roles, err = st.User(r.Name)
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *authServer) UserList(ctx context.Context, r *pb.AuthUserListRequest) (*pb.AuthUserListResponse, error) {
	resp := &pb.AuthUserListResponse{}
	var err error
	resp.Header, err = s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) {
		resp.Users = st.Users()
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *authServer) UserDelete(ctx context.Context, r *pb.AuthUserDeleteRequest) (*pb.AuthUserDeleteResponse, error) {
	header, err := s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.DeleteUser(r.Name) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserDeleteResponse{Header: header}, nil
}

func (s *authServer) UserChangePassword(ctx context.Context, r *pb.AuthUserChangePasswordRequest) (*pb.AuthUserChangePasswordResponse, error) {
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
	header, err := s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) {
		if invalid != nil {
			return nil, invalid
		}
		return st.ChangePassword(r.Name, hash)
	})
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserChangePasswordResponse{Header: header}, nil
}

func (s *authServer) UserGrantRole(ctx context.Context, r *pb.AuthUserGrantRoleRequest) (*pb.AuthUserGrantRoleResponse, error) {
	header, err := s.extend(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.GrantRole(r.User, r.Role) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserGrantRoleResponse{Header: header}, nil
}

func (s *authServer) UserRevokeRole(ctx context.Context, r *pb.AuthUserRevokeRoleRequest) (*pb.AuthUserRevokeRoleResponse, error) {
	header, err := s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) { return st.RevokeRole(r.Name, r.Role) })
	if err != nil {
		return nil, err
	}
	return &pb.AuthUserRevokeRoleResponse{Header: header}, nil
}
