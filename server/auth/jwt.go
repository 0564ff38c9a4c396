package auth

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// webTokens are JSON web tokens, as etcd issues them: any holder of the public key can verify them, and the server does
// not store them. They cannot be refreshed, and become invalid with the next change of users or roles.
type webTokens struct {
	method jwt.SigningMethod
	// sign is nil if there is only a public key.
	sign, verify any
	ttl          time.Duration
	parser       *jwt.Parser
}

// errVerifyOnly has no code in etcd.
var errVerifyOnly = errors.New("auth: token signing attempted with verify-only key")

func newJWT(options map[string]string) (*webTokens, error) {
	t := &webTokens{ttl: DefaultTokenTTL}
	pem := map[string][]byte{}
	for name, value := range options {
		var err error
		switch name {
		case "sign-method":
			t.method = jwt.GetSigningMethod(value)
		case "pub-key", "priv-key":
			if value != "" {
				pem[name], err = os.ReadFile(value)
			}
		case "ttl":
			if value != "" {
				t.ttl, err = time.ParseDuration(value)
			}
		default:
			err = errors.New("unknown option")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTokenOptions, name, err)
		}
	}
	if t.method == nil {
		return nil, fmt.Errorf("%w: sign-method= must be a signing method, such as RS256, PS256, ES256, EdDSA or HS256",
			ErrTokenOptions)
	}
	if err := t.keys(pem["pub-key"], pem["priv-key"]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTokenOptions, err)
	}
	t.parser = jwt.NewParser(jwt.WithValidMethods([]string{t.method.Alg()}))
	return t, nil
}

// keys reads the keys that the method needs.
func (t *webTokens) keys(public, private []byte) error {
	switch t.method.(type) {
	case *jwt.SigningMethodHMAC:
		if len(private) == 0 {
			return errors.New("priv-key= must name the file of the key that signs and verifies")
		}
		t.sign, t.verify = private, private
		return nil
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		return pair(t, public, private, jwt.ParseRSAPublicKeyFromPEM, jwt.ParseRSAPrivateKeyFromPEM)
	case *jwt.SigningMethodECDSA:
		return pair(t, public, private, jwt.ParseECPublicKeyFromPEM, jwt.ParseECPrivateKeyFromPEM)
	case *jwt.SigningMethodEd25519:
		return pair(t, public, private, parseEd25519Public, jwt.ParseEdPrivateKeyFromPEM)
	}
	return errors.New("sign-method= is a method that does not sign")
}

func parseEd25519Public(pem []byte) (ed25519.PublicKey, error) {
	key, err := jwt.ParseEdPublicKeyFromPEM(pem)
	if err != nil {
		return nil, err
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, jwt.ErrNotEdPublicKey
	}
	return public, nil
}

// pair sets the keys from their files. The public key follows from the private one. With the public key alone, tokens
// are only verified, not issued.
func pair[Public interface{ Equal(crypto.PublicKey) bool }, Private any](
	t *webTokens, public, private []byte,
	parsePublic func([]byte) (Public, error), parsePrivate func([]byte) (Private, error),
) error {
	if len(public) == 0 && len(private) == 0 {
		return errors.New("priv-key= must name the file of the private key, or pub-key= the file of the public key")
	}
	if len(private) > 0 {
		key, err := parsePrivate(private)
		if err != nil {
			return fmt.Errorf("priv-key: %w", err)
		}
		signer, ok := any(key).(crypto.Signer)
		if !ok {
			return errors.New("priv-key: the key cannot sign")
		}
		t.sign, t.verify = key, signer.Public()
	}
	if len(public) == 0 {
		return nil
	}
	key, err := parsePublic(public)
	if err != nil {
		return fmt.Errorf("pub-key: %w", err)
	}
	if t.verify != nil && !key.Equal(t.verify) {
		return errors.New("pub-key and priv-key do not belong together")
	}
	t.verify = key
	return nil
}

func (t *webTokens) Issue(s *State, name string) (string, error) {
	if t.sign == nil {
		return "", errVerifyOnly
	}
	return jwt.NewWithClaims(t.method, jwt.MapClaims{
		"username": name, "revision": s.revision, "exp": time.Now().Add(t.ttl).Unix(),
	}).SignedString(t.sign)
}

func (t *webTokens) Identify(_ *State, token string) (Identity, error) {
	claims := jwt.MapClaims{}
	key := func(*jwt.Token) (any, error) { return t.verify, nil }
	if _, err := t.parser.ParseWithClaims(token, claims, key); err != nil {
		return Identity{}, errInvalidToken
	}
	name, named := claims["username"].(string)
	revision, dated := claims["revision"].(float64)
	if !named || !dated {
		return Identity{}, errInvalidToken
	}
	return Identity{User: name, Revision: uint64(revision), known: true}, nil
}
