package auth

import (
	"fmt"
	"strings"
	"time"
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
