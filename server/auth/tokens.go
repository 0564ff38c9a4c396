package auth

import (
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// DefaultTokenTTL is how long a token is valid, the same as in etcd.
const DefaultTokenTTL = 5 * time.Minute

// Tokens issues tokens to authenticated clients, and verifies them. It may be used concurrently.
type Tokens interface {
	// Issue returns a token for a user of that state. It fails with [ErrNoSecret] if [State.NewSecret] is needed first.
	Issue(s *State, user string) (string, error)
	// Identify returns the identity of the user of a token, or rpctypes.ErrGRPCInvalidAuthToken.
	Identify(s *State, token string) (Identity, error)
}

var (
	// ErrTokenOptions means that a token specification is invalid. Errors wrap it with the reason.
	ErrTokenOptions = errors.New("invalid token specification")
	// ErrNoSecret means that the secret of simple tokens does not exist yet.
	ErrNoSecret = errors.New("no secret to make tokens from")

	errInvalidToken = rpctypes.ErrGRPCInvalidAuthToken
)
