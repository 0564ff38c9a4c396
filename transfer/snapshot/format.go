package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/logstructured/hashkv"
)

// The names of etcd's buckets and of their keys.
var (
	bucketKey            = []byte(hashkv.Bucket)
	bucketMeta           = []byte("meta")
	bucketLease          = []byte("lease")
	bucketAlarm          = []byte("alarm")
	bucketCluster        = []byte("cluster")
	bucketMembers        = []byte("members")
	bucketMembersRemoved = []byte("members_removed")
	bucketAuth           = []byte("auth")
	bucketAuthUsers      = []byte("authUsers")
	bucketAuthRoles      = []byte("authRoles")

	buckets = [][]byte{
		bucketKey, bucketMeta, bucketLease, bucketAlarm, bucketCluster, bucketMembers, bucketMembersRemoved,
		bucketAuth, bucketAuthUsers, bucketAuthRoles,
	}

	metaScheduledCompact = []byte("scheduledCompactRev")
	metaFinishedCompact  = []byte("finishedCompactRev")
	metaConsistentIndex  = []byte("consistent_index")
	metaTerm             = []byte("term")
	metaConfState        = []byte("confState")
	metaStorageVersion   = []byte("storageVersion")
	clusterVersion       = []byte("clusterVersion")
	authEnabled          = []byte("authEnabled")
	authRevision         = []byte("authRevision")
)

var (
	// ErrCorrupt means that a file is not a snapshot, or is damaged.
	ErrCorrupt = errors.New("not an intact etcd snapshot")
	// ErrNoChecksum means that a file does not end with its SHA-256, such as the database in etcd's data directory.
	ErrNoChecksum = errors.New("the snapshot has no checksum")
)

// Revision is one entry of the history: the change of one key at a revision.
type Revision struct {
	// Main is the revision, Sub the sub-revision: the order within it, from 0.
	Main, Sub int64
	// Tombstone reports that the key was deleted. KV then holds only the key.
	Tombstone bool
	KV        *mvccpb.KeyValue
}

// Lease is a granted lease.
type Lease struct {
	ID int64
	// TTL and Remaining are in seconds. Remaining is the TTL if the file does not hold the remaining time.
	TTL, Remaining int64
}

// Item is a user or a role: its name, and the marshalled authpb.User or authpb.Role.
type Item struct {
	Name  string
	Value []byte
}

// Auth is the state of etcd's Auth service.
type Auth struct {
	Enabled bool
	// Revision counts the changes; 0 if there was none.
	Revision uint64
	Users    []Item
	Roles    []Item
}

// revisionBytes is the length of a key of the history, without the mark of a tombstone.
const revisionBytes = 8 + 1 + 8

func parseRevision(b []byte) (main, sub int64, tombstone bool, err error) {
	tombstone = len(b) == revisionBytes+1 && b[revisionBytes] == 't'
	if len(b) != revisionBytes && !tombstone || b[8] != '_' {
		return 0, 0, false, fmt.Errorf("%w: %x is no revision", ErrCorrupt, b)
	}
	main, sub = int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[9:]))
	if main < 0 || sub < 0 {
		return 0, 0, false, fmt.Errorf("%w: %x is a negative revision", ErrCorrupt, b)
	}
	return main, sub, tombstone, nil
}
