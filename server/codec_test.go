package server

import (
	"bytes"
	"math/rand/v2"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// Buffers are reused without being cleared. Their previous contents must not be sent.
func TestCodecOverwritesReusedBuffers(t *testing.T) {
	c := newCodec()
	for i := range 200 {
		size := rand.IntN(1 << (4 + rand.IntN(16)))
		if i%100 == 50 {
			size = 1<<maxBuffer + i // is not kept
		}
		value := bytes.Repeat([]byte{byte(rand.IntN(256))}, size)
		message := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: rand.Int64()},
			Kvs: []*mvccpb.KeyValue{{Key: key, Value: value}}, Count: 1}
		encoded, err := c.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		want, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if got := encoded.Materialize(); !bytes.Equal(got, want) {
			t.Fatalf("a value of %d bytes: %d bytes, want %d, or they differ", size, len(got), len(want))
		}
		var decoded pb.RangeResponse
		if err := c.Unmarshal(encoded, &decoded); err != nil || !proto.Equal(&decoded, message) {
			t.Fatalf("a value of %d bytes cannot be read back: %v", size, err)
		}
		encoded.Free()
	}
	if _, err := c.Marshal("no message"); err == nil {
		t.Error("what is not a message was encoded")
	}
}

func TestDirtyBuffers(t *testing.T) {
	var buffers dirtyBuffers
	for _, size := range []int{0, 1, 2, 1 << 10, 1<<10 + 1, 1 << maxBuffer, 1<<maxBuffer + 1} {
		for range 3 {
			b := buffers.Get(size)
			if len(*b) != size {
				t.Fatalf("a buffer of %d bytes has %d", size, len(*b))
			}
			*b = (*b)[:size/2]
			buffers.Put(b)
		}
	}
	foreign := make([]byte, 1000)
	buffers.Put(&foreign)
	if b := buffers.Get(900); cap(*b) < 900 {
		t.Errorf("a buffer of 900 bytes has room for %d", cap(*b))
	}
}
