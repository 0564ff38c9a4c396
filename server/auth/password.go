package auth

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/crypto/bcrypt"
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

// ErrBadHash answers a hash of a password that is not in base64. Neither it nor errPasswordGiven, whose text etcd gives to both, has a code in etcd.
var ErrBadHash = errPasswordGiven

var errPasswordGiven = errors.New("auth: authentication failed, password was given for no password user")

// Hash makes what is kept of a password. It takes tens of milliseconds, twice as long for each one that cost is greater.
func Hash(password string, cost int) ([]byte, error) {
	return bcrypt.GenerateFromPassword([]byte(password), cost)
}

// CheckPassword returns an error unless that is the password of that user. It takes as long as [Hash].
func (s *State) CheckPassword(name, password string) error {
	if s.broken {
		return errBroken
	}
	if !s.Enabled {
		return rpctypes.ErrGRPCAuthNotEnabled
	}
	u := s.users[name]
	switch {
	case u == nil:
		return rpctypes.ErrGRPCAuthFailed
	case u.GetOptions().GetNoPassword():
		return errPasswordGiven
	case bcrypt.CompareHashAndPassword(u.Password, []byte(password)) != nil:
		return rpctypes.ErrGRPCAuthFailed
	}
	return nil
}
