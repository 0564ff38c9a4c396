package server

import (
	"context"
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

// edit applies the changes that fn returns if r is permitted at that position in the log, and sets the header of the
// response. It also serves requests that change nothing, which makes them linearizable, as in etcd.
func (s *authServer) edit(
	ctx context.Context, r proto.Message, header **pb.ResponseHeader, fn func(*auth.State) (auth.Changes, error),
) error {
	if err := checkSize(r, s.maxRequestBytes, s.maxRequestBytes); err != nil {
		return err
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
		return authStatus(err)
	}
	*header = s.header(revision)
	return nil
}

// extend is edit for requests that make the records larger.
func (s *authServer) extend(
	ctx context.Context, r proto.Message, header **pb.ResponseHeader, fn func(*auth.State) (auth.Changes, error),
) error {
	if err := s.store.Room(ctx); err != nil {
		return toStatus(err)
	}
	return s.edit(ctx, r, header, fn)
}

// authStatus is toStatus, but returns the code Unknown, as etcd does, for auth errors that have no code in etcd.
func authStatus(err error) error {
	if st := status.Convert(toStatus(err)); st.Code() == codes.Internal {
		return status.Error(codes.Unknown, err.Error())
	}
	return toStatus(err)
}

func (s *authServer) AuthEnable(ctx context.Context, r *pb.AuthEnableRequest) (*pb.AuthEnableResponse, error) {
	resp := &pb.AuthEnableResponse{}
	if err := s.edit(ctx, r, &resp.Header, (*auth.State).Enable); err != nil {
		return nil, err
	}
	s.logger.Info("auth is enabled: every request needs a user")
	return resp, nil
}

func (s *authServer) AuthDisable(ctx context.Context, r *pb.AuthDisableRequest) (*pb.AuthDisableResponse, error) {
	resp := &pb.AuthDisableResponse{}
	if err := s.edit(ctx, r, &resp.Header, (*auth.State).Disable); err != nil {
		return nil, err
	}
	s.logger.Warn("auth is disabled: every client has all permissions")
	return resp, nil
}

func (s *authServer) AuthStatus(ctx context.Context, r *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	resp := &pb.AuthStatusResponse{}
	return respond(resp, s.edit(ctx, r, &resp.Header, func(st *auth.State) (auth.Changes, error) {
		resp.Enabled, resp.AuthRevision = st.Enabled, st.Revision()
		return nil, nil
	}))
}

// Authenticate checks the password on a state that is at least as new as the request.
func (s *authServer) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	if err := s.store.Ready(ctx); err != nil {
		return nil, toStatus(err)
	}
	var checked auth.Credential // the one that the password was checked against
	for {
		st := s.auth.current()
		credential, err := st.Credential(r.Name, s.auth.bcryptCost)
		if err == nil && !credential.Same(checked) {
			err = s.passwords.do(ctx, func() error { return credential.Check(r.Password) })
			checked = credential
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
		return &pb.AuthenticateResponse{Header: s.header(s.store.Revision()), Token: token}, nil
	}
}
