package auth

import (
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/crypto/bcrypt"
)

// stateOf is a state with these users.
func stateOf(users ...*authpb.User) *State {
	s := &State{Enabled: true, revision: 1, users: map[string]*user{}, roles: map[string]*authpb.Role{}}
	for _, u := range users {
		s.users[string(u.Name)] = &user{User: u, state: s}
	}
	return s
}

// Checking a password costs the same comparison, whether or not the user exists and has a password.
func TestUnknownUsersCostSameComparison(t *testing.T) {
	const configured = bcrypt.MinCost
	hash := func(cost int) []byte {
		h, err := Hash("secret", cost)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	unsalted := append([]byte{}, hash(configured+1)...)
	unsalted[10] = '!'
	s := stateOf(
		&authpb.User{Name: []byte("a"), Password: hash(configured + 1)},
		&authpb.User{Name: []byte("b"), Password: hash(configured + 1)},
		&authpb.User{Name: []byte("new"), Password: hash(configured)},
		&authpb.User{Name: []byte("without"), Options: &authpb.UserAddOptions{NoPassword: true}},
		&authpb.User{Name: []byte("empty")},
		&authpb.User{Name: []byte("unsalted"), Password: unsalted},
		&authpb.User{Name: []byte("days"),
			Password: []byte("$2a$31$wVvHAxrPqzjKlmNyEoIuUe3Rz7WYtG9sQkD5bLcXfMhJnTpB0v1S2")},
	)
	for _, test := range []struct {
		user, password string
		want           error
	}{
		{"a", "secret", nil},
		{"new", "secret", nil},
		{"a", "wrong", rpctypes.ErrGRPCAuthFailed},
		{"nobody", "secret", rpctypes.ErrGRPCAuthFailed},
		{"", "", rpctypes.ErrGRPCAuthFailed},
		{"without", "secret", errPasswordGiven},
		{"empty", "", rpctypes.ErrGRPCAuthFailed},
		{"unsalted", "secret", rpctypes.ErrGRPCAuthFailed},
		{"days", "secret", rpctypes.ErrGRPCAuthFailed},
	} {
		c, err := s.Credential(test.user, configured)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(test.password); !errors.Is(err, test.want) {
			t.Errorf("%q with %q: %v, want %v", test.user, test.password, err, test.want)
		}
		want := configured + 1
		if test.user == "new" {
			want = configured
		}
		if cost, err := bcrypt.Cost(c.hash); err != nil || cost != want {
			t.Errorf("%q costs %d (%v), want %d", test.user, cost, err, want)
		}
		if cost, err := bcrypt.Cost(c.decoy); err != nil || cost != configured+1 {
			t.Errorf("the decoy of %q costs %d (%v)", test.user, cost, err)
		}
		if err := bcrypt.CompareHashAndPassword(c.decoy, nil); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("the decoy is not compared: %v", err)
		}
	}
}

// A password that matched a credential need not be checked again unless the user's password has changed.
func TestSameCredential(t *testing.T) {
	first, second := []byte("1"), []byte("2")
	u := &authpb.User{Name: []byte("a"), Password: first}
	credential := func() Credential { return Credential{hash: u.Password} }
	checked := credential()
	if !checked.Same(credential()) {
		t.Error("the same one differs")
	}
	u.Password = second
	if checked.Same(credential()) {
		t.Error("another password counts as checked")
	}
	if (Credential{}).Same(Credential{}) {
		t.Error("nothing counts as checked")
	}
}
