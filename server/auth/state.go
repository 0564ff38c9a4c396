package auth

import (
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/internal/keyrange"
)

// Root is the name of the user that must exist before auth can be enabled, and of the role that has all permissions.
const Root = "root"

// State is all users and roles at one moment. It is immutable, and may be used concurrently.
type State struct {
	// Enabled reports whether auth is enabled. Requests are not checked otherwise.
	Enabled bool

	revision uint64
	secret   []byte
	users    map[string]*user
	roles    map[string]*authpb.Role
	// userNames and roleNames are sorted.
	userNames, roleNames []string
	// err is not nil if a record is malformed or unknown. Every request is refused then.
	err error

	decoyOnce sync.Once
	decoyHash []byte
}

// user is a user and, once they were needed, its merged permissions.
type user struct {
	*authpb.User
	state       *State
	once        sync.Once
	read, write keyrange.Set
}

// Identity identifies the client of a request. The zero value is a client without an identity.
type Identity struct {
	User string
	// Revision is the auth revision at which the identity was verified. It is the current one except for JWT. It is 0
	// for a client without an identity.
	Revision uint64
	// known means that the client sent a token or certificate, whatever name is in it.
	known bool
}

// Certificate returns the identity of a client whose certificate has that common name.
func (s *State) Certificate(commonName string) Identity {
	return Identity{User: commonName, Revision: s.revision, known: true}
}

// Revision returns the auth revision, which each edit increments by one.
func (s *State) Revision() uint64 { return s.revision }

// Err returns an error, which wraps log.ErrCorrupt, if a record is malformed or unknown. Every request must then be
// refused.
func (s *State) Err() error { return s.err }

// User returns the roles of a user.
func (s *State) User(name string) (roles []string, err error) {
	u := s.users[name]
	if u == nil {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	return u.Roles, nil
}

// Users returns the names of all users in order.
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

// Roles returns the names of all roles in order.
func (s *State) Roles() []string { return s.roleNames }

// HasRole reports whether id is a user with the given role.
func (s *State) HasRole(id Identity, role string) bool {
	u := s.users[id.User]
	return u != nil && slices.Contains(u.Roles, role)
}

func (u *user) root() bool { return slices.Contains(u.Roles, Root) }

// Known returns an error if the client has no identity.
func (s *State) Known(id Identity) error {
	if s.err != nil {
		return s.err
	}
	if !id.known {
		return rpctypes.ErrGRPCUserEmpty
	}
	return nil
}

// Admin returns an error unless id has the role root. Like etcd, it does not check the revision.
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
	return s.may(id, func(u *user) bool { return u.read.Covers(keyrange.Range{Key: key, End: end}) })
}

// Write returns an error unless id may write all keys of a range.
func (s *State) Write(id Identity, key, end []byte) error {
	return s.may(id, func(u *user) bool { return u.write.Covers(keyrange.Range{Key: key, End: end}) })
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

// Current returns an error if id was verified at another auth revision than the current one. The result of its read
// must not be returned then.
func (s *State) Current(id Identity) error {
	if id.Revision != 0 && id.Revision != s.revision {
		return rpctypes.ErrGRPCAuthOldRevision
	}
	return nil
}

// collect merges the permissions of the user's roles.
func (u *user) collect() {
	for _, name := range u.Roles {
		r := u.state.roles[name]
		if r == nil {
			continue
		}
		for _, p := range r.KeyPermission {
			keys := keyrange.Range{Key: p.Key, End: p.RangeEnd}
			if len(keys.Key) == 0 {
				continue
			}
			if p.PermType == authpb.Permission_READ || p.PermType == authpb.Permission_READWRITE {
				u.read = append(u.read, keys)
			}
			if p.PermType == authpb.Permission_WRITE || p.PermType == authpb.Permission_READWRITE {
				u.write = append(u.write, keys)
			}
		}
	}
	u.read, u.write = keyrange.NewSet(u.read), keyrange.NewSet(u.write)
}
