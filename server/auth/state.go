package auth

import (
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// State is all about users and roles at one moment. It never changes, and may be used concurrently.
type State struct {
	// Enabled tells that requests are checked at all.
	Enabled bool

	revision uint64
	secret   []byte
	users    map[string]*user
	roles    map[string]*authpb.Role
	// The names in order.
	userNames, roleNames []string
	// err is why nobody is let in: a record is not what this package writes.
	err error

	decoyOnce sync.Once
	decoyHash []byte
}

// user is a user and, once asked for, what it may do.
type user struct {
	*authpb.User
	state       *State
	once        sync.Once
	read, write ranges
}

// Identity is who sends a request. The zero value is nobody.
type Identity struct {
	User string
	// Revision is the auth revision that the identity was proven at, which is the current one but for JWT. 0 is
	// nobody's.
	Revision uint64
	// known tells that there was a token or certificate, whatever name is in it.
	known bool
}

// Revision is the auth revision, which grows by one with each edit.
func (s *State) Revision() uint64 { return s.revision }

// Err returns an error, which wraps log.ErrCorrupt, if a record is malformed. Then every request has to be refused.
func (s *State) Err() error { return s.err }

// User returns the roles of a user.
func (s *State) User(name string) (roles []string, err error) {
	u := s.users[name]
	if u == nil {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	return u.Roles, nil
}

// Users returns all names of users in order.
func (s *State) Users() []string { return s.userNames }

// Role returns the permissions of a role.
func (s *State) Role(name string) ([]*authpb.Permission, error) {
	r := s.roles[name]
	if r == nil {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	if name == Root {
		return []*authpb.Permission{{PermType: authpb.Permission_READWRITE, Key: []byte{}, RangeEnd: []byte{0}}}, nil
	}
	return r.KeyPermission, nil
}

// Roles returns all names of roles in order.
func (s *State) Roles() []string { return s.roleNames }

// HasRole tells whether id is a user that was granted a role.
func (s *State) HasRole(id Identity, role string) bool {
	u := s.users[id.User]
	return u != nil && slices.Contains(u.Roles, role)
}

func (u *user) root() bool { return slices.Contains(u.Roles, Root) }

// Known returns an error if id is nobody.
func (s *State) Known(id Identity) error {
	if s.err != nil {
		return s.err
	}
	if !id.known {
		return rpctypes.ErrGRPCUserEmpty
	}
	return nil
}

// Admin returns an error unless id has the role root. It does not look at the revision, as etcd does not.
func (s *State) Admin(id Identity) error {
	if s.err != nil {
		return s.err
	}
	if id.User == "" {
		return rpctypes.ErrGRPCUserEmpty
	}
	u := s.users[id.User]
	if u == nil {
		return rpctypes.ErrGRPCUserNotFound
	}
	if !u.root() {
		return rpctypes.ErrGRPCPermissionDenied
	}
	return nil
}

// Read returns an error unless id may read all keys of a range, in etcd's notation.
func (s *State) Read(id Identity, key, end []byte) error {
	return s.may(id, func(u *user) bool { return u.read.contain(key, end) })
}

// Write returns an error unless id may write all keys of a range.
func (s *State) Write(id Identity, key, end []byte) error {
	return s.may(id, func(u *user) bool { return u.write.contain(key, end) })
}

func (s *State) may(id Identity, granted func(*user) bool) error {
	switch {
	case s.err != nil:
		return s.err
	case id.Revision == 0:
		return rpctypes.ErrGRPCUserEmpty
	case id.Revision < s.revision:
		return rpctypes.ErrGRPCAuthOldRevision
	}
	u := s.users[id.User]
	if u == nil {
		return rpctypes.ErrGRPCPermissionDenied
	}
	if u.root() {
		return nil
	}
	u.once.Do(u.collect)
	if !granted(u) {
		return rpctypes.ErrGRPCPermissionDenied
	}
	return nil
}

// Current returns an error if id was proven at another auth revision than the current one: what it read is not to be
// told.
func (s *State) Current(id Identity) error {
	if id.Revision != 0 && id.Revision != s.revision {
		return rpctypes.ErrGRPCAuthOldRevision
	}
	return nil
}

// collect finds out what the user may do.
func (u *user) collect() {
	for _, name := range u.Roles {
		r := u.state.roles[name]
		if r == nil {
			continue
		}
		for _, p := range r.KeyPermission {
			if p.PermType == authpb.Permission_READ || p.PermType == authpb.Permission_READWRITE {
				u.read = u.read.add(p.Key, p.RangeEnd)
			}
			if p.PermType == authpb.Permission_WRITE || p.PermType == authpb.Permission_READWRITE {
				u.write = u.write.add(p.Key, p.RangeEnd)
			}
		}
	}
	u.read, u.write = u.read.merge(), u.write.merge()
}
