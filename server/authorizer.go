package server

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
)

// authorizer decides who may do what. As long as auth is disabled it costs a request no more than finding that out.
type authorizer struct {
	store  *logstructured.Store
	tokens auth.Tokens
	// certificates tells that the common name of a client's certificate is the name of its user.
	certificates bool
	bcryptCost   int
	state        *logstructured.Derived[*auth.State]
	// open is the guard of requests that were begun while auth was disabled.
	open logstructured.Guard
}

// errEnabled means that auth was enabled since a request was begun.
var errEnabled = errors.New("auth was enabled concurrently")

func newAuthorizer(store *logstructured.Store, opts *Options) *authorizer {
	a := &authorizer{
		store: store, tokens: opts.AuthTokens, certificates: opts.ClientCertAuth, bcryptCost: opts.BcryptCost,
		state: logstructured.Derive(func(records logstructured.Records) *auth.State {
			st := auth.Read(records)
			if err := st.Err(); err != nil {
				opts.Logger.WithError(err).Error("EVERY REQUEST IS REFUSED: users and roles cannot be read; repair the record, see docs/reliability.md, or restore a backup")
			}
			return st
		}),
	}
	a.open = func(at logstructured.Moment) error {
		if a.state.Of(at.Records).Enabled {
			return errEnabled
		}
		return nil
	}
	return a
}

// current is the state as it was applied here.
func (a *authorizer) current() *auth.State { return a.state.Of(a.store.Records()) }

// authorized makes call with a guard for request r, one of etcd's messages, and once more if auth was enabled meanwhile.
func authorized[T any](ctx context.Context, a *authorizer, r any, call func(logstructured.Guard) (T, error)) (T, error) {
	st := a.current()
	result, err := call(a.first(ctx, r, st))
	if errors.Is(err, errEnabled) {
		return call(a.guard(ctx, r, st))
	}
	return result, err
}

// submitted is authorized for a request that is submitted at once and waited for later.
func submitted[T any](ctx context.Context, a *authorizer, r any, submit func(logstructured.Guard) (wait func() (T, error))) (wait func() (T, error)) {
	st := a.current()
	first := submit(a.first(ctx, r, st))
	return func() (T, error) {
		result, err := first()
		if errors.Is(err, errEnabled) {
			return submit(a.guard(ctx, r, st))()
		}
		return result, err
	}
}

// first returns the guard to begin with, which is errEnabled's while auth is disabled on st.
func (a *authorizer) first(ctx context.Context, r any, st *auth.State) logstructured.Guard {
	if st.Enabled {
		return a.guard(ctx, r, st)
	}
	return a.open
}

// admitted checks a request that the store does not evaluate, on a state that is not older than the request. Only a request for the
// state of this replica is checked on what was applied here, and so is one for the alarms while a corrupt database is one of them.
func (a *authorizer) admitted(ctx context.Context, r any) error {
	alarm, ok := r.(*pb.AlarmRequest)
	shown := ok && alarm.Action == pb.AlarmRequest_GET && a.store.Corrupt()
	return a.store.Check(ctx, a.guard(ctx, r, a.current()), !local(r) && !shown)
}

// guard checks request r. What can be found out about its sender on st is found out at once, because a guard is asked while others wait.
func (a *authorizer) guard(ctx context.Context, r any, st *auth.State) logstructured.Guard {
	sender := &sender{authorizer: a}
	if st.Enabled {
		sender.identify(ctx, st)
	}
	return func(at logstructured.Moment) error {
		st := a.state.Of(at.Records)
		if !st.Enabled {
			return nil
		}
		if err := st.Err(); err != nil {
			return err
		}
		sender.identify(ctx, st)
		if sender.err != nil {
			return sender.err
		}
		return permit(st, sender.id, r, at)
	}
}

// sender is who sends a request, on one state.
type sender struct {
	*authorizer
	st  *auth.State
	id  auth.Identity
	err error
}

// identify finds out by the token, or else by the certificate.
func (s *sender) identify(ctx context.Context, st *auth.State) {
	if s.st == st {
		return
	}
	s.st, s.id, s.err = st, auth.Identity{}, nil
	token := metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameGRPC)
	if len(token) == 0 {
		token = metadata.ValueFromIncomingContext(ctx, rpctypes.TokenFieldNameSwagger)
	}
	if len(token) > 0 {
		s.id, s.err = s.tokens.Identify(st, strings.TrimPrefix(token[0], "Bearer "))
		return
	}
	if name, ok := commonName(ctx); ok && s.certificates {
		s.id = st.Certificate(name)
	}
}

// sender returns who sends a request, as far as its token or certificate is good.
func (a *authorizer) sender(ctx context.Context) auth.Identity {
	s := &sender{authorizer: a}
	s.identify(ctx, a.current())
	return s.id
}

// commonName is that of the client's verified certificate. A request of a JSON gateway comes over the gateway's connection, whose certificate is not that of
// who asks.
func commonName(ctx context.Context) (string, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", false
	}
	state := peerState(p)
	if state == nil || len(metadata.ValueFromIncomingContext(ctx, "grpcgateway-accept")) > 0 {
		return "", false
	}
	return verifiedName(state)
}

// peerState is nil for plain text.
func peerState(p *peer.Peer) *tls.ConnectionState {
	switch info := p.AuthInfo.(type) {
	case securePeer:
		return &info.State
	case credentials.TLSInfo:
		return &info.State
	}
	return nil
}

func verifiedName(state *tls.ConnectionState) (string, bool) {
	for _, chain := range state.VerifiedChains {
		if len(chain) > 0 {
			return chain[0].Subject.CommonName, true
		}
	}
	return "", false
}

// byCertificate tells whether a certificate is enough to be somebody.
func (a *authorizer) byCertificate() bool { return a.certificates && a.current().Enabled }

// authorizedWatch is r with a guard, which is asked when the watcher is created, on a state that is not older than r.
func (m *member) authorizedWatch(ctx context.Context, r *pb.WatchCreateRequest) logstructured.WatchRequest {
	req := toWatch(r)
	req.Guard = m.auth.guard(ctx, r, m.auth.current())
	return req
}
