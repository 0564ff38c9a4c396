package logstructured

import (
	"errors"
	"testing"
)

func TestLeaseNamesKey(t *testing.T) {
	for _, test := range []struct {
		key  string
		id   LeaseID
		want bool
	}{
		{"lock/3c", 60, true},
		{"lock/3C", 60, true},
		{"lock/000000000000003c", 60, false}, // no recipe pads the number, but users pad theirs
		{"registry/60", 60, true},
		{"/60", 60, true},
		{"lock/3c", 61, false},
		{"lock/3c/", 60, false},
		{"lock/3c/owner", 60, false},
		{"lock/a3c", 60, false},
		{"lock-3c", 60, false},
		{"60", 60, false},
		{"", 60, false},
		{"lock/0", 60, false},
		// An address ends in a number, too: /registry/masterleases has them, with a TTL of 15 seconds.
		{"/registry/masterleases/10.0.0.15", 15, false},
		{"/registry/masterleases/fd00::f", 15, false},
	} {
		if got := namesLease([]byte(test.key), test.id); got != test.want {
			t.Errorf("lease %d names %q: %v, want %v", test.id, test.key, got, test.want)
		}
	}
}

func TestLeaseIdentityIsRefused(t *testing.T) {
	put := &PutRequest{Key: []byte("/registry/events/default/3600"), Lease: 3600}
	modRevision := Compare{KeyRange: KeyRange{Key: put.Key}, Target: CompareModRevision}
	createRevision := Compare{KeyRange: KeyRange{Key: put.Key}, Target: CompareCreateRevision}
	another := Compare{KeyRange: KeyRange{Key: []byte("another")}, Target: CompareModRevision}
	ttl := &control{mode: LeaseModeTTL}
	for _, test := range []struct {
		name     string
		compares []Compare
		want     error
	}{
		{"a plain put", nil, ErrLeaseIdentity},
		{"under its create revision, as recipes do", []Compare{createRevision}, ErrLeaseIdentity},
		{"under the mod revision of another key", []Compare{another}, ErrLeaseIdentity},
		{"under its mod revision, as Kubernetes does", []Compare{createRevision, modRevision}, nil},
	} {
		if err := ttl.checkLease(put, test.compares); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}
