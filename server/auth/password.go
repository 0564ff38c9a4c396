package auth

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// DefaultBcryptCost is etcd's.
const DefaultBcryptCost = bcrypt.DefaultCost

// ErrBcryptCost means that there is no such cost.
var ErrBcryptCost = fmt.Errorf("the cost of bcrypt is a number from %d to %d", bcrypt.MinCost, bcrypt.MaxCost)

// CheckBcryptCost returns [ErrBcryptCost] if passwords cannot be hashed at cost.
func CheckBcryptCost(cost int) error {
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return ErrBcryptCost
	}
	return nil
}

// ErrBadHash answers a hash of a password that is not in base64. Neither it nor errPasswordGiven, whose text etcd gives
// to both, has a code in etcd.
var ErrBadHash = errPasswordGiven

var errPasswordGiven = errors.New("auth: authentication failed, password was given for no password user")

// Hash makes what is kept of a password. It takes tens of milliseconds, twice as long for each one that cost is
// greater.
func Hash(password string, cost int) ([]byte, error) {
	return bcrypt.GenerateFromPassword([]byte(password), cost)
}

// maxCost is the cost up to which a hash is compared whatever the configured cost is: a comparison cannot be
// interrupted, takes seconds at this cost and days at the highest one.
const maxCost = 16

// ErrCostTooHigh answers a hash that [Credential.Check] would not compare with a password.
var ErrCostTooHigh = status.Errorf(codes.InvalidArgument,
	"stele: the cost of the hashed password is higher than %d and than --bcrypt-cost: no password would be compared with it",
	maxCost)

// costOf returns the cost of a hash, and whether passwords are compared with it by a server that hashes at the cost
// configured.
func costOf(hash []byte, configured int) (cost int, ok bool) {
	cost, err := bcrypt.Cost(hash)
	return cost, err == nil && cost <= max(maxCost, configured)
}

// CheckHash returns [ErrCostTooHigh] for a hash that would lock its user out.
func CheckHash(hash []byte, configured int) error {
	if cost, err := bcrypt.Cost(hash); err == nil && cost > max(maxCost, configured) {
		return ErrCostTooHigh
	}
	return nil
}

// Credential is what a user proves its identity by with a password. It does not show whether there is such a user.
type Credential struct {
	// hash is the user's, or decoy, which no known password fits.
	hash, decoy []byte
	// refusal is the outcome whatever the password is, nil if that decides.
	refusal error
}

// Credential returns the credential of a user, which may not exist or have no password. configured is the cost of
// hashing passwords.
func (s *State) Credential(name string, configured int) (Credential, error) {
	if s.err != nil {
		return Credential{}, s.err
	}
	if !s.Enabled {
		return Credential{}, rpctypes.ErrGRPCAuthNotEnabled
	}
	decoy := s.decoy(configured)
	u := s.users[name]
	if u == nil {
		return Credential{decoy, decoy, rpctypes.ErrGRPCAuthFailed}, nil
	}
	if u.GetOptions().GetNoPassword() {
		return Credential{decoy, decoy, errPasswordGiven}, nil
	}
	if _, ok := costOf(u.Password, configured); !ok {
		return Credential{decoy, decoy, rpctypes.ErrGRPCAuthFailed}, nil
	}
	return Credential{hash: u.Password, decoy: decoy}, nil
}

// Check returns nil if password is that of the credential. It takes as long as [Hash], whether or not there is such a
// user.
func (c Credential) Check(password string) error {
	err := bcrypt.CompareHashAndPassword(c.hash, []byte(password))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		// The hash is malformed, which shows at once.
		_ = bcrypt.CompareHashAndPassword(c.decoy, []byte(password))
	}
	if c.refusal != nil {
		return c.refusal
	}
	if err != nil {
		return rpctypes.ErrGRPCAuthFailed
	}
	return nil
}

// Same reports whether a password that passed the check of c also passes that of other.
func (c Credential) Same(other Credential) bool {
	return c.refusal == nil && other.refusal == nil && c.hash != nil && bytes.Equal(c.hash, other.hash)
}

// decoy returns a hash of no known password that costs as much to compare with as those of most users.
func (s *State) decoy(configured int) []byte {
	s.decoyOnce.Do(func() {
		users := map[int]int{}
		for _, u := range s.users {
			if cost, ok := costOf(u.Password, configured); ok {
				users[cost]++
			}
		}
		most := configured
		for cost, n := range users {
			if n > users[most] || n == users[most] && cost < most {
				most = cost
			}
		}
		s.decoyHash = fmt.Appendf(nil, "$2a$%02d$%s", most, "wVvHAxrPqzjKlmNyEoIuUe3Rz7WYtG9sQkD5bLcXfMhJnTpB0v1S2")
	})
	return s.decoyHash
}
