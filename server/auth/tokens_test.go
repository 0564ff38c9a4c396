package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// stateWith has auth enabled and users with these passwords' hashes.
func stateWith(secret string, users map[string]string) *State {
	s := &State{Enabled: true, revision: 7, secret: []byte(secret), users: map[string]*user{}}
	for name, hash := range users {
		s.users[name] = &user{User: &authpb.User{Name: []byte(name), Password: []byte(hash)}, state: s}
	}
	return s
}

func TestSimpleTokens(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	clock := func() time.Time { return now }
	issuer, other := newSimple(time.Minute, clock), newSimple(time.Minute, clock)
	st := stateWith("secret", map[string]string{"alice": "hash", "bob": "hash"})
	token, err := issuer.Issue(st, "alice")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(what string, by *simple, st *State, token string, want bool) {
		t.Helper()
		id, err := by.Identify(st, token)
		if want && (err != nil || id != Identity{User: "alice", Revision: 7, known: true}) || !want &&
			!errors.Is(err, rpctypes.ErrGRPCInvalidAuthToken) {
			t.Errorf("%s: %v, %v", what, id, err)
		}
	}
	valid("at once", issuer, st, token, true)
	valid("elsewhere", other, st, token, true)
	for range 5 {
		now = now.Add(50 * time.Second)
		valid("when it is used", issuer, st, token, true)
	}
	valid("elsewhere, where it was not used", other, st, token, false)
	now = now.Add(61 * time.Second)
	valid("when it was not used", issuer, st, token, false)
	valid("once more", issuer, st, token, false)

	token, err = issuer.Issue(st, "alice")
	if err != nil {
		t.Fatal(err)
	}
	again, err := issuer.Issue(st, "alice")
	if err != nil || again == token {
		t.Errorf("two tokens are the same: %v", err)
	}
	valid("a fresh one", other, st, token, true)
	valid("another secret", other, stateWith("other", map[string]string{"alice": "hash"}), token, false)
	valid("no secret", other, &State{Enabled: true, users: st.users}, token, false)
	valid("another password", other, stateWith("secret", map[string]string{"alice": "changed"}), token, false)
	valid("no such user", other, stateWith("secret", map[string]string{"bob": "hash"}), token, false)
	body, seal, _ := strings.Cut(token, ".")
	raw, err := encoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	forged := encoding.EncodeToString(append(bytes.Clone(raw[:sealedBytes]), "bob"...)) + "." + seal
	for _, bad := range []string{"", ".", body, body + ".", "." + seal, seal + "." + body, token + "A", "A" + token,
		forged, "aaaaaaaaaaaaaaaa.1"} {
		valid("forged: "+bad, other, st, bad, false)
	}
	if _, err := issuer.Issue(&State{Enabled: true, users: st.users}, "alice"); !errors.Is(err, ErrNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

// The times of last use are removed when tokens have expired.
func TestExpiredSimpleTokensAreRemoved(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	tokens := newSimple(time.Minute, func() time.Time { return now })
	st := stateWith("secret", map[string]string{"alice": "hash"})
	for range 3 * leastSweep {
		token, err := tokens.Issue(st, "alice")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Identify(st, token); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	if n := len(tokens.used); n > leastSweep {
		t.Errorf("%d tokens are remembered, of which 60 are valid", n)
	}
}

// writePEM writes the keys of a pair and returns their files.
func writePEM(t *testing.T, key crypto.Signer) (public, private string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	public = write("public", "PUBLIC KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	return public, write("private", "PRIVATE KEY", der, err)
}

func TestJWT(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	st := stateWith("", map[string]string{"alice": "hash"})
	make := func(specification string) Tokens {
		t.Helper()
		tokens, err := NewTokens(specification, 0)
		if err != nil {
			t.Fatalf("%s: %v", specification, err)
		}
		return tokens
	}
	for method, key := range map[string]crypto.Signer{"RS256": rsaKey, "PS512": rsaKey, "ES256": ecKey,
		"EdDSA": edKey} {
		public, private := writePEM(t, key)
		signer := make("jwt,sign-method=" + method + ",priv-key=" + private + ",ttl=1h")
		verifier := make("jwt,sign-method=" + method + ",pub-key=" + public)
		make("jwt,sign-method=" + method + ",pub-key=" + public + ",priv-key=" + private)
		token, err := signer.Issue(st, "alice")
		if err != nil {
			t.Fatal(err)
		}
		for _, tokens := range []Tokens{signer, verifier} {
			if id, err := tokens.Identify(st, token); err != nil ||
				(id != Identity{User: "alice", Revision: 7, known: true}) {
				t.Errorf("%s: %v, %v", method, id, err)
			}
			if _, err := tokens.Identify(st, token+"A"); !errors.Is(err, rpctypes.ErrGRPCInvalidAuthToken) {
				t.Errorf("%s, forged: %v", method, err)
			}
		}
		if _, err := verifier.Issue(st, "alice"); !errors.Is(err, errVerifyOnly) {
			t.Errorf("%s, with the public key alone: %v", method, err)
		}
	}
	_, private := writePEM(t, ecKey)
	short := make("jwt,sign-method=HS256,priv-key=" + private + ",ttl=-1s")
	token, err := short.Issue(st, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.Identify(st, token); !errors.Is(err, rpctypes.ErrGRPCInvalidAuthToken) {
		t.Errorf("one that has ended: %v", err)
	}
}

func TestTokenOptions(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, _ := writePEM(t, ecKey)
	_, private := writePEM(t, other)
	for specification, want := range map[string]string{
		"":                                   "it is simple, or jwt",
		"opaque":                             "it is simple, or jwt",
		"simple,ttl=1m":                      "simple has no options",
		"jwt":                                "sign-method=",
		"jwt,sign-method":                    "name=value",
		"jwt,ttl=1m,ttl=2m":                  "written once",
		"jwt,sign-method=ROT13":              "sign-method=",
		"jwt,sign-method=none":               "does not sign",
		"jwt,sign-method=ES256":              "priv-key=",
		"jwt,sign-method=HS256":              "priv-key=",
		"jwt,sign-method=ES256,key=x":        "key: unknown option",
		"jwt,sign-method=ES256,priv-key=/no": "no such file",
		"jwt,sign-method=ES256,ttl=5":        "ttl:",
		"jwt,sign-method=RS256,pub-key=" + public:                          "pub-key:",
		"jwt,sign-method=EdDSA,priv-key=" + private:                        "priv-key:",
		"jwt,sign-method=ES256,pub-key=" + public + ",priv-key=" + private: "do not belong together",
	} {
		if _, err := NewTokens(specification, 0); !errors.Is(err, ErrTokenOptions) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", specification, err)
		}
	}
	if err := CheckBcryptCost(3); !errors.Is(err, ErrBcryptCost) {
		t.Errorf("cost 3: %v", err)
	}
}
