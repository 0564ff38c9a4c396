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

// The names of the records; see the package documentation.
const (
	RecordPrefix   = "auth/"
	UserPrefix     = RecordPrefix + "users/"
	RolePrefix     = RecordPrefix + "roles/"
	RecordEnabled  = RecordPrefix + "enabled"
	RecordRevision = RecordPrefix + "revision"
	recordSecret   = RecordPrefix + "secret"
)

// secretBytes is the length of the secret of simple tokens.
const secretBytes = 32

// EncodeRevision returns the value of [RecordRevision].
func EncodeRevision(revision uint64) []byte { return binary.BigEndian.AppendUint64(nil, revision) }

// EncodeEnabled returns the value of [RecordEnabled].
func EncodeEnabled() []byte { return []byte{1} }

// Read builds the state from the records. If a record is malformed or unknown, auth counts as enabled regardless of the
// other records, and [State.Err] names the record.
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

// errMalformed means that the length or content of a record is invalid.
var errMalformed = errors.New("it is malformed")

// read adds one record to the state.
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

// change appends the increment of the auth revision to the changes of an edit.
func (s *State) change(changes ...logstructured.RecordChange) []logstructured.RecordChange {
	return append(changes, logstructured.RecordChange{Name: RecordRevision, Value: EncodeRevision(s.revision + 1)})
}

// put returns the change that writes a user or role.
func put(prefix string, name []byte, m proto.Message) (logstructured.RecordChange, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return logstructured.RecordChange{Name: prefix + string(name), Value: value}, err
}
