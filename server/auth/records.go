package auth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// The names of records; see the package's comment.
const (
	RecordPrefix   = "auth/"
	UserPrefix     = RecordPrefix + "users/"
	RolePrefix     = RecordPrefix + "roles/"
	RecordEnabled  = RecordPrefix + "enabled"
	RecordRevision = RecordPrefix + "revision"
	recordSecret   = RecordPrefix + "secret"
)

// Root is the name of the user that must exist to enable auth, and of the role that may do everything.
const Root = "root"

// EncodeRevision is the value of [RecordRevision].
func EncodeRevision(revision uint64) []byte { return binary.BigEndian.AppendUint64(nil, revision) }

// EncodeEnabled is the value of [RecordEnabled].
func EncodeEnabled() []byte { return []byte{1} }

// Read makes the state that the records hold. If one of them is not what this package writes, auth is enabled whatever
// the others say, and [State.Err] names the record.
func Read(records logstructured.Records) *State {
	s := &State{revision: 1, users: map[string]*user{}, roles: map[string]*authpb.Role{}}
	records.Ascend(RecordPrefix, func(name string, value []byte) bool {
		if err := s.read(name, value); err != nil && s.err == nil {
			s.err = fmt.Errorf("%w: the record %q of users and roles: %w", log.ErrCorrupt, name, err)
		}
		return true
	})
	s.Enabled = s.Enabled || s.err != nil
	return s
}

// errMalformed means that a record has another length or content than it can have.
var errMalformed = errors.New("it is malformed")

// read takes one record.
func (s *State) read(name string, value []byte) error {
	if of, ok := strings.CutPrefix(name, UserPrefix); ok {
		return s.readUser(of, value)
	}
	if of, ok := strings.CutPrefix(name, RolePrefix); ok {
		return s.readRole(of, value)
	}
	switch name {
	case RecordEnabled:
		if s.Enabled = bytes.Equal(value, EncodeEnabled()); !s.Enabled {
			return errMalformed
		}
	case RecordRevision:
		if len(value) != 8 {
			return errMalformed
		}
		s.revision = binary.BigEndian.Uint64(value)
	case recordSecret:
		if s.secret = value; len(value) != secretBytes {
			return errMalformed
		}
	default:
		return errors.New("it is not known: it is damaged, or a later version of Stele wrote it")
	}
	return nil
}

func (s *State) readUser(name string, value []byte) error {
	u := &user{User: &authpb.User{}, state: s}
	s.users[name], s.userNames = u, append(s.userNames, name)
	if err := proto.Unmarshal(value, u.User); err != nil {
		return err
	}
	if string(u.Name) != name {
		return errMalformed
	}
	return nil
}

func (s *State) readRole(name string, value []byte) error {
	r := &authpb.Role{}
	s.roles[name], s.roleNames = r, append(s.roleNames, name)
	if err := proto.Unmarshal(value, r); err != nil {
		return err
	}
	if string(r.Name) != name {
		return errMalformed
	}
	return nil
}

// change returns the changes of an edit and the next auth revision.
func (s *State) change(changes ...logstructured.RecordChange) []logstructured.RecordChange {
	return append(changes, logstructured.RecordChange{Name: RecordRevision, Value: EncodeRevision(s.revision + 1)})
}

// put sets a user or role.
func put(prefix string, name []byte, m proto.Message) (logstructured.RecordChange, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return logstructured.RecordChange{Name: prefix + string(name), Value: value}, err
}
