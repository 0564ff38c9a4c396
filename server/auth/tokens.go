package auth

import (
	"errors"
	"fmt"
	"strings"
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
	// ErrTokenOptions means that a token specification is invalid. The text gives the reason.
	ErrTokenOptions = errors.New("cannot make tokens of that")
	// ErrNoSecret means that the secret of simple tokens does not exist yet.
	ErrNoSecret = errors.New("no secret to make tokens from")
)

// NewTokens returns Tokens from etcd's specification: "simple", whose tokens expire when they are not used for ttl, or
// "jwt" followed by a comma and sign-method=, pub-key= and priv-key= (names of PEM files), ttl= (a duration, 5m by
// default). A ttl of 0 is [DefaultTokenTTL].
func NewTokens(specification string, ttl time.Duration) (Tokens, error) {
	kind, rest, _ := strings.Cut(specification, ",")
	options := map[string]string{}
	for rest != "" {
		var option string
		option, rest, _ = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(option, "=")
		if _, twice := options[name]; !ok || twice {
			return nil, fmt.Errorf("%w: each option is written once, as name=value", ErrTokenOptions)
		}
		options[name] = value
	}
	switch {
	case kind == "simple" && len(options) == 0:
		if ttl <= 0 {
			ttl = DefaultTokenTTL
		}
		return newSimple(ttl, time.Now), nil
	case kind == "simple":
		return nil, fmt.Errorf("%w: simple has no options", ErrTokenOptions)
	case kind == "jwt":
		return newJWT(options)
	}
	return nil, fmt.Errorf("%w: it is simple, or jwt,sign-method=METHOD,priv-key=FILE", ErrTokenOptions)
}

// Certificate returns the identity of a client whose certificate has that common name.
func (s *State) Certificate(commonName string) Identity {
	return Identity{User: commonName, Revision: s.revision, known: true}
}

var errInvalidToken = rpctypes.ErrGRPCInvalidAuthToken
