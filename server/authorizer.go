package server

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/server/auth"
	"github.com/stele-db/stele/server/transport"
)

// authorizer makes the guards of requests. While auth is disabled a guard costs one comparison.
type authorizer struct {
	store  *logstructured.Store
	tokens auth.Tokens
	// certificates means that the common name of a client's certificate is the name of its user.
	certificates bool
	bcryptCost   int
	state        *logstructured.Derived[*auth.State]
	// open is the guard of requests that began while auth was disabled.
	open logstructured.Guard
}

// errEnabled means that auth was enabled after a request began.
var errEnabled = errors.New("auth was enabled concurrently")

func newAuthorizer(store *logstructured.Store, opts *Options) *authorizer {
	a := &authorizer{
		store: store, tokens: opts.AuthTokens, certificates: opts.ClientCertAuth, bcryptCost: opts.BcryptCost,
		state: logstructured.Derive(func(records logstructured.Records) *auth.State {
			st := auth.Read(records)
			if err := st.Err(); err != nil {
				opts.Logger.WithError(err).Error("EVERY REQUEST IS REFUSED: users and roles cannot be read; " +
					"repair the record, see docs/reliability.md, or restore a backup")
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

// current returns the state that was last applied on this replica.
func (a *authorizer) current() *auth.State { return a.state.Of(a.store.Records()) }

// authorized calls the store with a guard for request r, one of etcd's messages. It calls the store again if auth was
// enabled concurrently.
func authorized[T any](
	ctx context.Context, a *authorizer, r any, call func(logstructured.Guard) (T, error),
) (T, error) {
	st := a.current()
	result, err := call(a.first(ctx, r, st))
	if errors.Is(err, errEnabled) {
		return call(a.guard(ctx, r, st))
	}
	return result, err
}

// submitted is [authorized] for a call that queues the request and returns a function that waits for its result.
func submitted[T any](
	ctx context.Context, a *authorizer, r any, submit func(logstructured.Guard) (wait func() (T, error)),
) (wait func() (T, error)) {
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

// first returns the guard of the first call, which fails with errEnabled if auth is disabled on st and enabled later.
func (a *authorizer) first(ctx context.Context, r any, st *auth.State) logstructured.Guard {
	if st.Enabled {
		return a.guard(ctx, r, st)
	}
	return a.open
}

// permitted checks request r on a state that is at least as new as r. It is for handlers that act before the store
// evaluates their request.
func (a *authorizer) permitted(ctx context.Context, r any) error {
	_, err := authorized(ctx, a, r, func(guard logstructured.Guard) (struct{}, error) {
		return struct{}{}, a.store.Check(ctx, guard)
	})
	return err
}

// guard returns the guard of request r. It identifies the sender on st at once, because other requests wait while the
// store calls a guard.
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

// sender is the client that sent a request, as identified on one state.
type sender struct {
	*authorizer
	st  *auth.State
	id  auth.Identity
	err error
}

// identify identifies the client by its token, or else by its certificate.
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

// sender returns the identity of the client that sent a request, which is empty if its token is invalid.
func (a *authorizer) sender(ctx context.Context) auth.Identity {
	s := &sender{authorizer: a}
	s.identify(ctx, a.current())
	return s.id
}

// commonName returns the common name of the client's verified certificate. It returns none for a request of a JSON
// gateway, whose connection has the certificate of the gateway and not of its client.
func commonName(ctx context.Context) (string, bool) {
	if len(metadata.ValueFromIncomingContext(ctx, "grpcgateway-accept")) > 0 {
		return "", false
	}
	return transport.VerifiedName(transport.PeerTLS(ctx))
}

// byCertificate reports whether client certificates identify users.
func (a *authorizer) byCertificate() bool { return a.certificates && a.current().Enabled }
