package logstructured

import (
	"bytes"
	"fmt"
	"strconv"
)

// checkLease returns an error if a put cannot use its lease. In [LeaseModeEtcd] the lease must exist. In [LeaseModeTTL]
// it must be a TTL and must not be used as an identity. compares are the compares of the put's transaction.
func (c *control) checkLease(p *PutRequest, compares []Compare) error {
	switch {
	case c.mode == LeaseModeTTL && (p.Lease <= 0 || p.Lease > MaxLeaseTTL),
		c.mode == LeaseModeEtcd && c.lease(p.Lease) == nil:
		return fmt.Errorf("%w: %d", ErrLeaseNotFound, p.Lease)
	case c.mode == LeaseModeTTL && namesLease(p.Key, p.Lease) && !comparesModRevision(compares, p.Key):
		return ErrLeaseIdentity
	}
	return nil
}

// namesLease reports whether the last element of key, after a slash, is the lease's ID in hexadecimal or decimal.
// Recipes of etcd's clients name keys this way, because the ID of an etcd lease is unique: mutexes and elections in
// hexadecimal, service registries and some elections in decimal.
func namesLease(key []byte, id LeaseID) bool {
	slash := bytes.LastIndexByte(key, '/')
	if slash < 0 {
		return false
	}
	name := key[slash+1:]
	var buf [20]byte
	return bytes.Equal(name, strconv.AppendInt(buf[:0], int64(id), 10)) ||
		bytes.EqualFold(name, strconv.AppendInt(buf[:0], int64(id), 16))
}

// comparesModRevision reports whether one of the compares is on the mod revision of key. Kubernetes writes each object
// under such a compare, and its users choose the name, which may by chance look like a TTL. Recipes compare the create
// revision or nothing.
func comparesModRevision(compares []Compare, key []byte) bool {
	for i := range compares {
		c := &compares[i]
		if c.Target == CompareModRevision && len(c.End) == 0 && bytes.Equal(c.Key, key) {
			return true
		}
	}
	return false
}
