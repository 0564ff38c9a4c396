package server

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
)

// authServer is etcd's Auth service.
type authServer struct {
	pb.UnsafeAuthServer
	*member
	logger          *logrus.Entry
	passwords       *passwords
	maxRequestBytes int
}

// edit applies the changes that fn returns if r is permitted at that position in the log. It also serves requests that
// change nothing, which makes them linearizable, as in etcd.
func (s *authServer) edit(ctx context.Context, r proto.Message, fn func(*auth.State) (auth.Changes, error)) (*pb.ResponseHeader, error) {
	if err := checkSize(r, s.maxRequestBytes, s.maxRequestBytes); err != nil {
		return nil, err
	}
	decide := func(records logstructured.Records) ([]logstructured.RecordChange, error) {
		st := s.auth.state.Of(records)
		if err := st.Err(); err != nil {
			return nil, err
		}
		return fn(st)
	}
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
		return s.store.UpdateRecords(ctx, guard, decide)
	})
	if err != nil {
		return nil, authStatus(err)
	}
	return s.header(&pb.ResponseHeader{}, revision), nil
}

// extend is edit for requests that make the records larger.
func (s *authServer) extend(ctx context.Context, r proto.Message, fn func(*auth.State) (auth.Changes, error)) (*pb.ResponseHeader, error) {
	if err := s.store.Room(ctx); err != nil {
		return nil, toStatus(err)
	}
	return s.edit(ctx, r, fn)
}

// authStatus is toStatus, but returns the code Unknown, as etcd does, for auth errors that have no code in etcd.
func authStatus(err error) error {
	if st := status.Convert(toStatus(err)); st.Code() == codes.Internal {
		return status.Error(codes.Unknown, err.Error())
	}
	return toStatus(err)
}

func (s *authServer) AuthEnable(ctx context.Context, r *pb.AuthEnableRequest) (*pb.AuthEnableResponse, error) {
	header, err := s.edit(ctx, r, (*auth.State).Enable)
	if err != nil {
		return nil, err
	}
	s.logger.Info("auth is enabled: every request needs a user")
	return &pb.AuthEnableResponse{Header: header}, nil
}

func (s *authServer) AuthDisable(ctx context.Context, r *pb.AuthDisableRequest) (*pb.AuthDisableResponse, error) {
	header, err := s.edit(ctx, r, (*auth.State).Disable)
	if err != nil {
		return nil, err
	}
	s.logger.Warn("auth is disabled: every client has all permissions")
	return &pb.AuthDisableResponse{Header: header}, nil
}

func (s *authServer) AuthStatus(ctx context.Context, r *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	resp := &pb.AuthStatusResponse{}
	var err error
	resp.Header, err = s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) {
		resp.Enabled, resp.AuthRevision = st.Enabled, st.Revision()
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Authenticate checks the password on a state that is at least as new as the request.
func (s *authServer) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	if err := s.store.Ready(ctx); err != nil {
		return nil, toStatus(err)
	}
	var proven auth.Credential
	for {
		st := s.auth.current()
		credential, err := st.Credential(r.Name, s.auth.bcryptCost)
		if err == nil && !credential.Same(proven) {
			err = s.passwords.do(ctx, func() error { return credential.Check(r.Password) })
			proven = credential
		}
		if err != nil {
			return nil, authStatus(err)
		}
		token, err := s.auth.tokens.Issue(st, r.Name)
		if errors.Is(err, auth.ErrNoSecret) {
			secret := func(records logstructured.Records) ([]logstructured.RecordChange, error) {
				return s.auth.state.Of(records).NewSecret()
			}
			_, err = s.store.UpdateRecords(ctx, logstructured.Unguarded, secret)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, authStatus(err)
		}
		// A token of an outdated state would be refused when it is first used.
		if s.auth.current() != st {
			continue
		}
		return &pb.AuthenticateResponse{Header: s.header(&pb.ResponseHeader{}, s.store.Revision()), Token: token}, nil
	}
}

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
	hash, err := base64.StdEncoding.DecodeString(r.HashedPassword)
	badHash := err != nil
	if r.Password != "" {
		if hash, err = s.hash(ctx, r, r.Password); err != nil {
			return nil, err
		}
		badHash = false
	}
	header, err := s.edit(ctx, r, func(st *auth.State) (auth.Changes, error) {
		if badHash {
			return nil, auth.ErrBadHash
		}
		if err := auth.CheckHash(hash, s.auth.bcryptCost); err != nil {
			return nil, err
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
