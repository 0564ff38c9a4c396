package server

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is gRPC's codec for protobuf with a different buffer pool for outgoing messages. gRPC's pool clears each buffer
// before reuse, half a megabyte for a large list, although the message overwrites it.
type codec struct {
	encoding.CodecV2
	buffers mem.BufferPool
}

func newCodec() codec {
	return codec{encoding.GetCodecV2(grpcproto.Name), &dirtyBuffers{}}
}

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if held, ok := v.(*heldAnswer); ok {
		return c.marshalHeld(held)
	}
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	return c.marshal(m, proto.Size(m), c.buffers)
}

// marshalHeld encodes a message whose room is released with its buffer.
func (c codec) marshalHeld(held *heldAnswer) (mem.BufferSlice, error) {
	held.buffers = c.buffers
	encoded, err := c.marshal(held.Message, held.size, held)
	if err != nil {
		held.free()
	}
	return encoded, err
}

// marshal encodes m, whose size has just been computed, into a buffer that is returned to buffers.
func (c codec) marshal(m proto.Message, size int, buffers mem.BufferPool) (mem.BufferSlice, error) {
	options := proto.MarshalOptions{UseCachedSize: true} // computed by the caller
	if mem.IsBelowBufferPoolingThreshold(size) {
		b, err := options.Marshal(m)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	b := c.buffers.Get(size)
	encoded, err := options.MarshalAppend((*b)[:0], m)
	if err != nil {
		c.buffers.Put(b)
		return nil, err
	}
	*b = encoded
	return mem.BufferSlice{mem.NewBuffer(b, buffers)}, nil
}

// maxBuffer is the largest buffer that is kept, as a power of two: 16 MiB.
const maxBuffer = 24

// dirtyBuffers is a [mem.BufferPool] with one pool for each power of two. Its buffers are not cleared, and the caller
// of Get must overwrite them.
type dirtyBuffers [maxBuffer + 1]sync.Pool

// Get implements [mem.BufferPool].
func (p *dirtyBuffers) Get(size int) *[]byte {
	power := bits.Len(uint(max(size, 1) - 1))
	if power > maxBuffer {
		b := make([]byte, size)
		return &b
	}
	b, ok := p[power].Get().(*[]byte)
	if !ok {
		made := make([]byte, 1<<power)
		b = &made
	}
	*b = (*b)[:size]
	return b
}

// Put implements [mem.BufferPool].
func (p *dirtyBuffers) Put(b *[]byte) {
	power := bits.Len(uint(cap(*b))) - 1
	if power <= maxBuffer && cap(*b) == 1<<power {
		p[power].Put(b)
	}
}
