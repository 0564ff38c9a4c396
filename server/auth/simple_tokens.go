package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

// simple issues tokens that any replica can verify without having seen them before. A token consists of its time of
// issue and its user, sealed with the secret in the log and the hash of the user's password. So a token becomes invalid
// when the password changes or the user is deleted, and all tokens do when auth is disabled. See DESIGN.md of package
// server.
//
// Each use extends a token by a whole TTL, on the replica that sees the use.
type simple struct {
	ttl time.Duration
	now func() time.Time

	mu sync.Mutex
	// used holds the time of the last use of each token on this replica. sweepAt is the number of tokens at which
	// expired ones are removed.
	used    map[string]time.Time
	sweepAt int
}

const (
	nonceBytes = 16
	// sealedBytes is the length of the data in front of the user's name: the time of issue in ms, and the nonce.
	sealedBytes = 8 + nonceBytes
	// leastSweep is the number of tokens below which expired ones are not removed.
	leastSweep = 1024
)

var encoding = base64.RawURLEncoding

func newSimple(ttl time.Duration, now func() time.Time) *simple {
	return &simple{ttl: ttl, now: now, used: map[string]time.Time{}, sweepAt: leastSweep}
}

func (t *simple) Issue(s *State, name string) (string, error) {
	if s.secret == nil {
		return "", ErrNoSecret
	}
	u := s.users[name]
	if u == nil {
		return "", errInvalidToken
	}
	body := binary.BigEndian.AppendUint64(make([]byte, 0, sealedBytes+len(name)), uint64(t.now().UnixMilli()))
	body = body[:sealedBytes]
	_, _ = rand.Read(body[8:]) // it never fails
	body = append(body, name...)
	return encoding.EncodeToString(body) + "." + encoding.EncodeToString(seal(s, u, body)), nil
}

// seal returns the MAC of a token, which cannot be forged without the secret.
func seal(s *State, u *user, body []byte) []byte {
	mac := hmac.New(sha256.New, s.secret)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(body))))
	_, _ = mac.Write(body)
	_, _ = mac.Write(u.Password)
	return mac.Sum(nil)
}

func (t *simple) Identify(s *State, token string) (Identity, error) {
	first, last, ok := strings.Cut(token, ".")
	body, err := encoding.DecodeString(first)
	if !ok || err != nil || len(body) <= sealedBytes || s.secret == nil {
		return Identity{}, errInvalidToken
	}
	u := s.users[string(body[sealedBytes:])]
	if u == nil {
		return Identity{}, errInvalidToken
	}
	given, err := encoding.DecodeString(last)
	if err != nil || !hmac.Equal(given, seal(s, u, body)) {
		return Identity{}, errInvalidToken
	}
	if !t.use(token, time.UnixMilli(int64(binary.BigEndian.Uint64(body)))) {
		return Identity{}, errInvalidToken
	}
	return Identity{User: string(body[sealedBytes:]), Revision: s.revision, known: true}, nil
}

// use records the use of a token, and reports whether the token is still valid.
func (t *simple) use(token string, issued time.Time) bool {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	lastUse, used := t.used[token]
	if !used {
		lastUse = issued
	}
	if now.Sub(lastUse) > t.ttl {
		delete(t.used, token)
		return false
	}
	t.used[token] = now
	if len(t.used) >= t.sweepAt {
		for other, last := range t.used {
			if now.Sub(last) > t.ttl {
				delete(t.used, other)
			}
		}
		t.sweepAt = max(leastSweep, 2*len(t.used))
	}
	return true
}
