package auth

import (
	"encoding/binary"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured"
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

// Read makes the state that the records hold.
func Read(records logstructured.Records) *State {
	s := &State{revision: 1, users: map[string]*user{}, roles: map[string]*authpb.Role{}}
	records.Ascend(RecordPrefix, func(name string, value []byte) bool {
		if of, ok := strings.CutPrefix(name, UserPrefix); ok {
			u := &user{User: &authpb.User{}, state: s}
			s.broken = s.broken || proto.Unmarshal(value, u.User) != nil
			s.users[of], s.userNames = u, append(s.userNames, of)
		} else if of, ok := strings.CutPrefix(name, RolePrefix); ok {
			r := &authpb.Role{}
			s.broken = s.broken || proto.Unmarshal(value, r) != nil
			s.roles[of], s.roleNames = r, append(s.roleNames, of)
		}
		return true
	})
	if enabled, ok := records.Get(RecordEnabled); ok {
		s.Enabled = len(enabled) == 1 && enabled[0] == 1
	}
	if revision, ok := records.Get(RecordRevision); ok {
		if len(revision) == 8 {
			s.revision = binary.BigEndian.Uint64(revision)
		} else {
			s.broken = true
		}
	}
	s.secret, _ = records.Get(recordSecret)
	return s
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
