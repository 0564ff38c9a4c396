package logstructured

import "fmt"

// LeaseMode tells what a lease is. It is recorded in the log, so that all replicas agree.
type LeaseMode string

const (
	// LeaseModeTTL stores no leases: the ID of one is its TTL, and a key that is put with it expires that long after
	// its last write.
	LeaseModeTTL LeaseMode = "ttl"
	// LeaseModeEtcd has etcd's leases: granted, kept alive and revoked, with keys that are deleted when they end.
	LeaseModeEtcd LeaseMode = "etcd"
)

// recordLeaseMode is the record that holds the mode, if it is not [LeaseModeTTL] from the beginning.
const recordLeaseMode = "lease-mode"

const (
	// MaxLeaseTTL is the largest TTL of a lease, in seconds; etcd's.
	MaxLeaseTTL = 9_000_000_000
	// minLeaseTTL is what a smaller TTL is raised to, in seconds; etcd's with its default election timeout.
	minLeaseTTL = 2
)

func leaseModeMismatch(recorded, wanted LeaseMode) error {
	return fmt.Errorf("%w: the leases in the database are of mode %s, and this server runs in mode %s",
		ErrLeaseModeMismatch, recorded, wanted)
}

// Valid returns an error if m is none of the modes.
func (m LeaseMode) Valid() error {
	if m != LeaseModeTTL && m != LeaseModeEtcd {
		return fmt.Errorf("lease mode %q: it is %s or %s", string(m), LeaseModeTTL, LeaseModeEtcd)
	}
	return nil
}
