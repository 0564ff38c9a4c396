package auth

import (
	"bytes"
	"crypto/rand"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/internal/keyrange"
	"github.com/stele-db/stele/logstructured"
)

// Changes are the changes of records that an edit makes. There are none if it changes nothing.
type Changes = []logstructured.RecordChange

// Enable enables auth. The user root must exist and have the role root. The auth revision does not change.
func (s *State) Enable() (Changes, error) {
	if s.Enabled {
		return nil, nil
	}
	root := s.users[Root]
	if root == nil {
		return nil, rpctypes.ErrGRPCRootUserNotExist
	}
	if !root.root() {
		return nil, rpctypes.ErrGRPCRootRoleNotExist
	}
	return Changes{{Name: RecordEnabled, Value: EncodeEnabled()}}, nil
}

// Disable disables auth, and invalidates all simple tokens for good.
func (s *State) Disable() (Changes, error) {
	if !s.Enabled {
		return nil, nil
	}
	changes := Changes{{Name: RecordEnabled, Remove: true}}
	if s.secret != nil {
		changes = append(changes, logstructured.RecordChange{Name: recordSecret, Remove: true})
	}
	return s.change(changes...), nil
}

// AddUser adds a user. password is its hash, or nil for a user without a password.
func (s *State) AddUser(name string, password []byte, options *authpb.UserAddOptions) (Changes, error) {
	if name == "" {
		return nil, rpctypes.ErrGRPCUserEmpty
	}
	if s.users[name] != nil {
		return nil, rpctypes.ErrGRPCUserAlreadyExist
	}
	if options == nil {
		options = &authpb.UserAddOptions{}
	}
	return s.putUser(&authpb.User{Name: []byte(name), Password: password, Options: options})
}

func (s *State) putUser(u *authpb.User) (Changes, error) {
	change, err := put(UserPrefix, u.Name, u)
	return s.change(change), err
}

// editUser replaces a user by a copy that fn has changed.
func (s *State) editUser(name string, fn func(*authpb.User) error) (Changes, error) {
	u := s.users[name]
	if u == nil {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	edited := proto.CloneOf(u.User)
	edited.Name = []byte(name)
	if err := fn(edited); err != nil {
		return nil, err
	}
	return s.putUser(edited)
}

// DeleteUser deletes a user.
func (s *State) DeleteUser(name string) (Changes, error) {
	if s.Enabled && name == Root {
		return nil, rpctypes.ErrGRPCInvalidAuthMgmt
	}
	if s.users[name] == nil {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	return s.change(logstructured.RecordChange{Name: UserPrefix + name, Remove: true}), nil
}

// ChangePassword sets the hash of a user's password. A user that was added without a password stays without one.
func (s *State) ChangePassword(name string, password []byte) (Changes, error) {
	return s.editUser(name, func(u *authpb.User) error {
		if u.GetOptions().GetNoPassword() {
			password = nil
		}
		u.Password = password
		return nil
	})
}

// GrantRole grants a role to a user. The role root need not exist.
func (s *State) GrantRole(name, role string) (Changes, error) {
	u := s.users[name]
	if u == nil {
		return nil, rpctypes.ErrGRPCUserNotFound
	}
	if role != Root && s.roles[role] == nil {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	if slices.Contains(u.Roles, role) {
		return nil, nil
	}
	return s.editUser(name, func(u *authpb.User) error {
		u.Roles = append(u.Roles, role)
		slices.Sort(u.Roles)
		return nil
	})
}

// RevokeRole revokes a role from a user.
func (s *State) RevokeRole(name, role string) (Changes, error) {
	if s.Enabled && name == Root && role == Root {
		return nil, rpctypes.ErrGRPCInvalidAuthMgmt
	}
	return s.editUser(name, func(u *authpb.User) error {
		if !slices.Contains(u.Roles, role) {
			return rpctypes.ErrGRPCRoleNotGranted
		}
		u.Roles = slices.DeleteFunc(u.Roles, func(r string) bool { return r == role })
		return nil
	})
}

// AddRole adds a role without permissions.
func (s *State) AddRole(name string) (Changes, error) {
	if name == "" {
		return nil, rpctypes.ErrGRPCRoleEmpty
	}
	if s.roles[name] != nil {
		return nil, rpctypes.ErrGRPCRoleAlreadyExist
	}
	return s.putRole(&authpb.Role{Name: []byte(name)})
}

func (s *State) putRole(r *authpb.Role) (Changes, error) {
	change, err := put(RolePrefix, r.Name, r)
	return s.change(change), err
}

// DeleteRole deletes a role and revokes it from all users.
func (s *State) DeleteRole(name string) (Changes, error) {
	if s.Enabled && name == Root {
		return nil, rpctypes.ErrGRPCInvalidAuthMgmt
	}
	if s.roles[name] == nil {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	changes := Changes{{Name: RolePrefix + name, Remove: true}}
	for _, of := range s.userNames {
		u := s.users[of]
		if !slices.Contains(u.Roles, name) {
			continue
		}
		edited := proto.CloneOf(u.User)
		edited.Roles = slices.DeleteFunc(edited.Roles, func(r string) bool { return r == name })
		change, err := put(UserPrefix, []byte(of), edited)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	return s.change(changes...), nil
}

// GrantPermission grants a role a permission on a range. It replaces an existing permission on the same range.
func (s *State) GrantPermission(role string, p *authpb.Permission) (Changes, error) {
	if p == nil {
		return nil, rpctypes.ErrGRPCPermissionNotGiven
	}
	if len(p.Key) == 0 || (keyrange.Range{Key: p.Key, End: p.RangeEnd}).Empty() {
		return nil, rpctypes.ErrGRPCInvalidAuthMgmt
	}
	r := s.roles[role]
	if r == nil {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	edited := proto.CloneOf(r)
	replaced := false
	for _, existing := range edited.KeyPermission {
		if sameRange(existing, p.Key, p.RangeEnd) {
			existing.PermType, replaced = p.PermType, true
		}
	}
	if !replaced {
		added := &authpb.Permission{Key: p.Key, RangeEnd: p.RangeEnd, PermType: p.PermType}
		edited.KeyPermission = append(edited.KeyPermission, added)
		slices.SortStableFunc(edited.KeyPermission, func(a, b *authpb.Permission) int {
			return bytes.Compare(a.Key, b.Key)
		})
	}
	return s.putRole(edited)
}

func sameRange(p *authpb.Permission, key, end []byte) bool {
	return bytes.Equal(p.Key, key) && bytes.Equal(p.RangeEnd, end)
}

// RevokePermission revokes the permission on a range from a role.
func (s *State) RevokePermission(role string, key, end []byte) (Changes, error) {
	r := s.roles[role]
	if r == nil {
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	edited := proto.CloneOf(r)
	edited.KeyPermission = slices.DeleteFunc(edited.KeyPermission, func(p *authpb.Permission) bool {
		return sameRange(p, key, end)
	})
	if len(edited.KeyPermission) == len(r.KeyPermission) {
		return nil, rpctypes.ErrGRPCPermissionNotGranted
	}
	return s.putRole(edited)
}

// NewSecret creates the secret of simple tokens unless it exists or auth is disabled.
func (s *State) NewSecret() (Changes, error) {
	if !s.Enabled || s.secret != nil {
		return nil, nil
	}
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // it never fails
	return Changes{logstructured.RecordChange{Name: recordSecret, Value: secret}}, nil
}
