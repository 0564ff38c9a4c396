package auth

import (
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"
)

// TestMalformedRecords reads each record as it is written, and malformed. A malformed one never disables auth.
func TestMalformedRecords(t *testing.T) {
	t.Parallel()
	marshal := func(m proto.Message) string {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, test := range map[string]struct {
		good []string
		bad  []string
	}{
		RecordEnabled:  {[]string{"\x01"}, []string{"", "\x00", "\x03", "\x01\x01"}},
		RecordRevision: {[]string{"\x00\x00\x00\x00\x00\x00\x00\x05"}, []string{"", "\x05"}},
		recordSecret:   {[]string{string(make([]byte, secretBytes))}, []string{"", "x"}},
		UserPrefix + "u": {[]string{marshal(&authpb.User{Name: []byte("u")})},
			[]string{"", "\xff", marshal(&authpb.User{Name: []byte("v")})}},
		RolePrefix + "r": {[]string{marshal(&authpb.Role{Name: []byte("r")})},
			[]string{"", "\xff", marshal(&authpb.Role{Name: []byte("s")})}},
		"auth/enablee": {nil, []string{"\x01"}},
	} {
		for i, value := range append(test.good, test.bad...) {
			s := &State{users: map[string]*user{}, roles: map[string]*authpb.Role{}}
			if err := s.read(name, []byte(value)); (err == nil) != (i < len(test.good)) {
				t.Errorf("%s = %q: %v", name, value, err)
			}
		}
	}
}
