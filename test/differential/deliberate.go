package differential

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

// deliberate is a difference that Stele wants.
type deliberate struct {
	name, reason string
	// matches tells whether this is the difference between the answers to r. Nil marks what the generator never asks,
	// because the answer of etcd depends on more than its data.
	matches func(r request, reference, subject answer) bool
}

var deliberates = []deliberate{
	{
		name: "HashKV at the revision of a compaction",
		reason: "etcd answers from memory what it computed during that compaction, with the compact revision before it, even if a later" +
			" compaction made the revision unreadable, and forgets it when it restarts. Stele has no such memory.",
	},
	{
		name:   "LeaseGrant in lease mode ttl",
		reason: "The lease ID is the TTL, whatever ID was asked for; nothing is stored, so that no lease exists twice and any TTL is an ID.",
	},
}

// isDeliberate returns the index of the difference, or -1.
func isDeliberate(r request, reference, subject answer) int {
	for i, d := range deliberates {
		if d.matches != nil && d.matches(r, reference, subject) {
			return i
		}
	}
	return -1
}

var (
	_ = codes.OK
	_ = pb.RangeRequest{}
)
