package server

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// sendFragments sends resp in pieces of less than limit bytes. A single event that exceeds the limit is a piece of its
// own. All pieces but the last have Fragment set. A message passed to send is not modified afterwards, because grpc may
// encode it later.
func sendFragments(resp *pb.WatchResponse, limit int, send func(*pb.WatchResponse) error) error {
	if len(resp.Events) < 2 || proto.Size(resp) < limit {
		return send(resp)
	}
	events := resp.Events
	for {
		piece := &pb.WatchResponse{
			Header:          resp.Header,
			WatchId:         resp.WatchId,
			Created:         resp.Created,
			Canceled:        resp.Canceled,
			CompactRevision: resp.CompactRevision,
			CancelReason:    resp.CancelReason,
			Fragment:        true,
		}
		size := proto.Size(piece)
		n := 0
		for ; n < len(events); n++ {
			size += sizeOfEventField(proto.Size(events[n]))
			if n > 0 && size >= limit {
				break
			}
		}
		piece.Events, events = events[:n:n], events[n:]
		piece.Fragment = len(events) > 0
		if err := send(piece); err != nil {
			return err
		}
		if len(events) == 0 {
			return nil
		}
	}
}

// sizeOfEventField returns the size of an event of n bytes as field 11 of a WatchResponse.
func sizeOfEventField(n int) int {
	return protowire.SizeTag(11) + protowire.SizeBytes(n)
}
