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

	"github.com/stele-db/stele/logstructured"
)

// simple are tokens that any replica can check without having seen them before: when they were issued and to whom,
// sealed by the secret in the log and by the hash of the user's password. So a token ends with the password or the
// user, and all of them with auth being disabled. See DESIGN.md of package server.
//
// Each use makes a token last a whole TTL from then on, on the replica that sees it.
type simple struct {
	ttl time.Duration
	now func() time.Time

	mu sync.Mutex
	// used is when each token was last used here; sweepAt is the number of them that makes it worth looking for those
	// that have ended.
	used    map[string]time.Time
	sweepAt int
}

const (
	secretBytes = 32
	nonceBytes  = 16
	// sealedBytes is what stands before the user's name: the time of issue in ms, and the nonce.
	sealedBytes = 8 + nonceBytes
	// leastSweep is the number of tokens below which nobody looks for ended ones.
	leastSweep = 1024
)

var encoding = base64.RawURLEncoding

func newSimple(ttl time.Duration, now func() time.Time) *simple {
	return &simple{ttl: ttl, now: now, used: map[string]time.Time{}, sweepAt: leastSweep}
}

// NewSecret makes what simple tokens are made from, unless it is there.
func (s *State) NewSecret() (Changes, error) {
	if !s.Enabled || s.secret != nil {
		return nil, nil
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // it never fails
	return Changes{logstructured.RecordChange{Name: recordSecret, Value: secret}}, nil
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

// seal is what nobody can make without the secret.
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

// use notes that a token is used, and tells whether it is still valid.
func (t *simple) use(token string, issued time.Time) bool {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	since, seen := t.used[token]
	if !seen {
		since = issued
	}
	if now.Sub(since) > t.ttl {
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
