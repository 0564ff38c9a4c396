package differential

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// deliberate is a difference that Stele wants.
type deliberate struct {
	name, reason string
	// instead returns what the reference is asked in place of r, so that the subject's answer can still be compared, or
	// nil if r does not meet this difference. Nil marks what the generator never asks.
	instead func(r request) *request
}

var deliberates = []deliberate{
	{
		name: "RangeStream with a sort target but no order",
		reason: "etcd sorts each chunk by itself and goes on after the last key of the sorted chunk, so that keys are lost or come twice." +
			" Stele streams in key order, which is compared instead.",
		instead: func(r request) *request {
			q, ok := r.message.(*pb.RangeRequest)
			if !ok || !r.stream || q.SortOrder != pb.RangeRequest_NONE || q.SortTarget <= pb.RangeRequest_KEY || q.SortTarget > pb.RangeRequest_VALUE {
				return nil
			}
			q = proto.CloneOf(q)
			q.SortTarget = pb.RangeRequest_KEY
			return &request{message: q, stream: true}
		},
	},
	{
		name: "HashKV at the revision of a compaction",
		reason: "etcd answers from memory what it computed during that compaction, with the compact revision before it, even if a later" +
			" compaction made the revision unreadable, and forgets it when it restarts. Stele has no such memory.",
	},
	{
		name: "Compact and HashKV at a revision in which a txn deleted a key and put it again",
		reason: "etcd lets such a txn pass if the range of the delete has no end; at its revision it then takes the key for deleted: compacting" +
			" there drops the new value, and the server ends with a fatal error when that is read. Stele keeps it: see TestCompactAtReplacement.",
	},
	{
		name: "progress on a stream with a watcher that was canceled by compaction",
		reason: "etcd counts it as not synced until the client cancels it too, and answers no progress request of the stream until then. Stele" +
			" answers.",
	},
	{
		name: "LeaseGrant in lease mode ttl",
		reason: "The lease ID is the TTL and nothing is stored: an ID of the client's choice is refused, no lease exists twice, and any number" +
			" that can be a TTL is a lease that can be put with.",
	},
}

// deliberately returns what to ask the reference, and the index of the deliberate difference or -1.
func deliberately(r request) (request, int) {
	for i, d := range deliberates {
		if d.instead == nil {
			continue
		}
		if other := d.instead(r); other != nil {
			return *other, i
		}
	}
	return r, -1
}
