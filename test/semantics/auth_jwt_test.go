package semantics

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

// TestAuthJWT runs rules with JSON web tokens that the test signs with the server's key.
func TestAuthJWT(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
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
	der, err := x509.MarshalPKCS8PrivateKey(private)
	privateFile := write("private.pem", "PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(public)
	publicFile := write("public.pem", "PUBLIC KEY", der, err)
	withAuth(t, jwtRules(private), cheapPasswords,
		"--auth-token=jwt,sign-method=EdDSA,pub-key="+publicFile+",priv-key="+privateFile+",ttl=1h")
}

func jwtRules(key ed25519.PrivateKey) []rule {
	signed := func(e *env, key any, method jwt.SigningMethod, claims jwt.MapClaims) string {
		e.Helper()
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		return must(e, token, err)
	}
	return []rule{
		{"a token is invalid after the next edit", func(e *env) {
			e.account("web", authpb.Permission_READWRITE)
			user, root := e.as("web"), e.as("root")
			fails(e, codes.OK, "", 0, e.putAs(user, "k"))
			e.edit().role("any", "", 0)
			fails(e, codes.InvalidArgument, oldRevision, 0, e.putAs(user, "k"))
			fails(e, codes.InvalidArgument, oldRevision, 0, e.getAs(user, "k"))
			fails(e, codes.InvalidArgument, oldRevision, 0, e.putAs(root, "k"))
			// Requests without keys do not check the auth revision of the token.
			_, err := e.Maintenance.Hash(root, &pb.HashRequest{})
			must(e, 0, err)
			_, err = e.Maintenance.Hash(user, &pb.HashRequest{})
			fails(e, codes.PermissionDenied, denied, 0, err)
			fails(e, codes.OK, "", 0, e.putAs(e.as("web"), "k"))
		}},
		{"the signed claims decide", func(e *env) {
			revision := e.authRevision()
			later := time.Now().Add(time.Hour).Unix()
			try := func(key any, method jwt.SigningMethod, claims jwt.MapClaims) (read, write error) {
				ctx := withToken(e.ctx, signed(e, key, method, claims))
				return e.getAs(ctx, "k"), e.putAs(ctx, "k")
			}
			ed := jwt.SigningMethodEdDSA
			for _, c := range []struct {
				name        string
				key         any
				method      jwt.SigningMethod
				claims      jwt.MapClaims
				read, write string
			}{
				{"good", key, ed, jwt.MapClaims{"username": "root", "revision": revision, "exp": later}, "ok", "ok"},
				{"without an expiry", key, ed, jwt.MapClaims{"username": "root", "revision": revision}, "ok", "ok"},
				{"of an unknown user", key, ed, jwt.MapClaims{"username": "absent", "revision": revision, "exp": later},
					"PermissionDenied: " + denied, "PermissionDenied: " + denied},
				{"of a later revision", key, ed,
					jwt.MapClaims{"username": "root", "revision": revision + 1, "exp": later},
					"InvalidArgument: " + oldRevision, "ok"},
				{"without a revision", key, ed, jwt.MapClaims{"username": "root", "exp": later},
					"Unauthenticated: " + invalidToken, "Unauthenticated: " + invalidToken},
				{"of revision 0", key, ed, jwt.MapClaims{"username": "root", "revision": 0, "exp": later},
					"InvalidArgument: " + noName, "InvalidArgument: " + noName},
				{"without a name", key, ed, jwt.MapClaims{"revision": revision, "exp": later},
					"Unauthenticated: " + invalidToken, "Unauthenticated: " + invalidToken},
				{"ended", key, ed, jwt.MapClaims{"username": "root", "revision": revision, "exp": 1},
					"Unauthenticated: " + invalidToken, "Unauthenticated: " + invalidToken},
				{"signed with the public key", []byte(key.Public().(ed25519.PublicKey)), jwt.SigningMethodHS256,
					jwt.MapClaims{"username": "root", "revision": revision, "exp": later},
					"Unauthenticated: " + invalidToken, "Unauthenticated: " + invalidToken},
				{"unsigned", jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone,
					jwt.MapClaims{"username": "root", "revision": revision, "exp": later},
					"Unauthenticated: " + invalidToken, "Unauthenticated: " + invalidToken},
			} {
				read, write := try(c.key, c.method, c.claims)
				equal(e, c.name+", read", outcome(read), c.read)
				equal(e, c.name+", write", outcome(write), c.write)
			}
		}},
	}
}
