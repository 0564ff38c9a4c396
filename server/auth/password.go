package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// DefaultBcryptCost is the default bcrypt cost of etcd.
const DefaultBcryptCost = bcrypt.DefaultCost

// ErrBcryptCost means that a bcrypt cost is out of range.
var ErrBcryptCost = fmt.Errorf("the cost of bcrypt is a number from %d to %d", bcrypt.MinCost, bcrypt.MaxCost)

// CheckBcryptCost returns [ErrBcryptCost] if passwords cannot be hashed at cost.
func CheckBcryptCost(cost int) error {
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return ErrBcryptCost
	}
	return nil
}

// errPasswordGiven has no code in etcd. As in etcd, it is also the error for a password hash that is not valid base64.
var errPasswordGiven = errors.New("auth: authentication failed, password was given for no password user")

// Hash hashes a password for storage. It takes tens of milliseconds at the default cost; each increment of cost doubles
// the time.
func Hash(password string, cost int) ([]byte, error) {
	return bcrypt.GenerateFromPassword([]byte(password), cost)
}

// maxCost is the highest cost at which a hash is compared even if the configured cost is lower. A comparison cannot be
// interrupted; it takes seconds at this cost and days at the highest one.
const maxCost = 16

// errCostTooHigh is the error for a hash that [Credential.Check] would not compare with a password.
var errCostTooHigh = status.Errorf(codes.InvalidArgument,
	"stele: the cost of the hashed password is higher than %d and than --bcrypt-cost: "+
		"no password would be compared with it", maxCost)

// costOf returns the cost of a hash. ok reports whether a server with the configured cost compares passwords with it.
func costOf(hash []byte, configured int) (cost int, ok bool) {
	cost, err := bcrypt.Cost(hash)
	return cost, err == nil && cost <= max(maxCost, configured)
}

// DecodeHash decodes a hash that a client sent in base64. configured is the bcrypt cost of the server. DecodeHash
// refuses a hash of such a high cost that its user could never log in.
func DecodeHash(text string, configured int) ([]byte, error) {
	hash, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errPasswordGiven
	}
	if cost, err := bcrypt.Cost(hash); err == nil && cost > max(maxCost, configured) {
		return nil, errCostTooHigh
	}
	return hash, nil
}

// Credential is the data against which a password is checked. It does not reveal whether the user exists.
type Credential struct {
	// hash is the user's hash, or decoy, which matches no known password.
	hash, decoy []byte
	// refusal is the outcome for any password. It is nil if the password decides.
	refusal error
}

// Credential returns the credential of a user, which may not exist or have no password. configured is the bcrypt cost
// of the server.
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

// Check returns nil if password matches the credential. It takes as long as [Hash], whether or not the user exists.
func (c Credential) Check(password string) error {
	err := bcrypt.CompareHashAndPassword(c.hash, []byte(password))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		// A malformed hash fails at once. Comparing with the decoy takes the usual time.
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

// Same reports whether a password that matches c also matches other.
func (c Credential) Same(other Credential) bool {
	return c.refusal == nil && other.refusal == nil && c.hash != nil && bytes.Equal(c.hash, other.hash)
}

// decoy returns a hash that matches no known password. It has the most frequent cost of the users' hashes, so that a
// comparison takes as long as for most users.
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
