package main

import (
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestScanRange(t *testing.T) {
	data := encode(t, &pb.RangeResponse{
		Header: &pb.ResponseHeader{ClusterId: 1, MemberId: 2, Revision: 300, RaftTerm: 4},
		Kvs: []*mvccpb.KeyValue{
			{Key: []byte("a"), Value: []byte("12345"), ModRevision: 7, Lease: -1},
			{Key: []byte("b"), Value: []byte("678")},
		},
		More: true, Count: 1234,
	})
	a, err := scanRange(data)
	if err != nil {
		t.Fatal(err)
	}
	if a.revision != 300 || a.kvs != 2 || a.values != 8 || !a.more || a.count != 1234 || string(a.firstKey) != "a" {
		t.Errorf("scanned %+v", a)
	}
	if _, err := scanRange(data[:len(data)-1]); err == nil {
		t.Error("a truncated answer was scanned without error")
	}
}

func TestScanWatch(t *testing.T) {
	type seen struct {
		id, revision int64
		value        string
	}
	put := func(revision int64, value string) *mvccpb.Event {
		return &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), Value: []byte(value), ModRevision: revision}}
	}
	var got []seen
	note := func(id int64, e watchEvent) error {
		got = append(got, seen{id, e.modRevision, string(e.value)})
		return nil
	}
	a, err := scanWatch(encode(t, &pb.WatchResponse{WatchId: 5, Events: []*mvccpb.Event{put(2, "x"), put(3, "y")}}),
		note)
	if err != nil || a.watchID != 5 || a.created || a.canceled {
		t.Errorf("scanned %+v, %v", a, err)
	}
	if want := []seen{{5, 2, "x"}, {5, 3, "y"}}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if a, err := scanWatch(encode(t, &pb.WatchResponse{Created: true, Canceled: true}), note); err != nil ||
		!a.created || !a.canceled {
		t.Errorf("scanned %+v, %v", a, err)
	}
	deletion := &pb.WatchResponse{
		Events: []*mvccpb.Event{{Type: mvccpb.DELETE, Kv: &mvccpb.KeyValue{Key: []byte("k")}}},
	}
	deleted := false
	if _, err := scanWatch(encode(t, deletion),
		func(_ int64, e watchEvent) error { deleted = e.deleted; return nil }); err != nil || !deleted {
		t.Errorf("a deletion was scanned as %t, %v", deleted, err)
	}
}

func TestCountSyncs(t *testing.T) {
	const trace = `101 1000.000100 fdatasync(7) = 0
102 1000.500000 fdatasync(7 <unfinished ...>
103 1000.600000 fsync(9)                = 0
102 1000.700000 <... fdatasync resumed>) = 0
103 1000.800000 --- SIGURG {si_signo=SIGURG} ---
103 1001.900000 fsync(9)                = 0
`
	got, err := countBetween([]byte(trace), time.Unix(1000, 400_000_000), time.Unix(1001, 0))
	if err != nil || got != 2 {
		t.Errorf("counted %d, %v, want 2", got, err)
	}
}
