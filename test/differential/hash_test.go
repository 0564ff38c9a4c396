package differential

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// TestHashKV compares the hashes of histories that random requests seldom make.
func TestHashKV(t *testing.T) {
	put := func(key, value string) proto.Message { return &pb.PutRequest{Key: []byte(key), Value: []byte(value)} }
	del := func(key string) proto.Message { return &pb.DeleteRangeRequest{Key: []byte(key)} }
	compact := func(revision int64) proto.Message { return &pb.CompactionRequest{Revision: revision, Physical: true} }
	for name, script := range map[string][]proto.Message{
		"nothing":                              {},
		"one key":                              {put("a", "1")},
		"deleted":                              {put("a", "1"), del("a")},
		"compacted at 0":                       {put("a", "1"), compact(0)},
		"compacted before any write":           {compact(1), put("a", "1")},
		"nothing left":                         {put("a", "1"), put("b", "1"), compact(3), del("a"), del("b")},
		"nothing left, one was deleted before": {put("a", "1"), put("b", "1"), del("b"), compact(4), del("a")},
		"nothing left, one was deleted at the compact": {put("a", "1"), put("b", "1"), del("b"), put("c", ""),
			compact(4), del("a"), del("c")},
		"nothing left, updated and deleted": {put("a", "1"), put("a", "2"), put("a", "3"),
			compact(3), del("a")},
		"superseded after the compaction": {put("a", "1"), put("b", "1"), compact(3), put("a", "2"),
			del("b"), put("c", "")},
		"tombstone at the compacted revision and again": {put("a", "1"), del("a"), compact(3), put("a", "2")},
		"tombstone at the current revision":             {put("a", "1"), put("b", "1"), compact(2), del("a")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := newKVRun(t, 0)
			for i, m := range script {
				run.step(t, i, request{message: m})
				for revision := int64(0); revision <= run.generator.current+1; revision++ {
					if !run.generator.compactions[revision] {
						run.step(t, i, request{message: &pb.HashKVRequest{Revision: revision}})
					}
				}
			}
		})
	}
}
