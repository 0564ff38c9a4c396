package logstructured

import "fmt"

// LeaseMode is the kind of leases that a store has. The log records it, so that all replicas agree.
type LeaseMode string

const (
	// LeaseModeTTL stores no leases. The ID of a lease is its TTL, and a key that is put with it expires that long
	// after its last write.
	LeaseModeTTL LeaseMode = "ttl"
	// LeaseModeEtcd has etcd's leases. They are granted, kept alive and revoked, and their keys are deleted when they
	// end.
	LeaseModeEtcd LeaseMode = "etcd"
)

// recordLeaseMode is the record that holds the mode. A log without it has [LeaseModeTTL].
const recordLeaseMode = "lease-mode"

const (
	// MaxLeaseTTL is the largest TTL of a lease, in seconds, as in etcd.
	MaxLeaseTTL = 9_000_000_000
	// minLeaseTTL is the smallest TTL, in seconds, to which smaller ones are raised. It is etcd's with its default
	// election timeout.
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
