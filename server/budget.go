package server

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/server/transport"
)

// heldRoom is room in an outbox that a message holds.
type heldRoom struct {
	box   *outbox
	bytes int64
	freed atomic.Bool
}

// free releases the room.
func (r *heldRoom) free() {
	if r.freed.CompareAndSwap(false, true) {
		r.box.give(r.bytes)
	}
}

// heldAnswer is a message that holds room until gRPC has written it to the connection, or has discarded it.
type heldAnswer struct {
	proto.Message
	*heldRoom
	size int
	// buffers is the pool that the buffer of the encoded message came from.
	buffers mem.BufferPool
}

// newHeldAnswer makes m a message of size bytes that holds room in a box.
//
// gRPC discards a message without freeing its buffer if the client cancels the stream at the moment when the message is
// queued. The garbage collector then finds the message and releases its room.
func newHeldAnswer(m proto.Message, size int, box *outbox, room int64) *heldAnswer {
	h := &heldAnswer{Message: m, heldRoom: &heldRoom{box: box, bytes: room}, size: size}
	runtime.AddCleanup(h, (*heldRoom).free, h.heldRoom)
	return h
}

// Get implements [mem.BufferPool], of which gRPC calls only Put.
func (h *heldAnswer) Get(n int) *[]byte { return h.buffers.Get(n) }

// Put implements [mem.BufferPool]: gRPC calls it when the message has been written, or was queued when its stream
// ended.
func (h *heldAnswer) Put(b *[]byte) {
	h.buffers.Put(b)
	h.free()
}

// mailboxOf returns the outboxes of the connection that a request came from. It returns nil if [Options.GRPCServer]
// serves the request.
func mailboxOf(ctx context.Context) *mailbox {
	m, _ := transport.ObserverOf(ctx).(*mailbox)
	return m
}

// errNoRoom means that a request has to wait for room before its response is made.
var errNoRoom = errors.New("no room for the answer")

// unaryBudget is the room for the response to one request, which cannot be split. It implements [logstructured.Budget].
type unaryBudget struct {
	box *outbox
	// wanted is the size of the response as far as it is known, held the room that was taken for it.
	wanted, held int64
}

// Take implements [logstructured.Budget]. It adds to the room that is already held, and never waits: the data that the
// request has collected so far would take memory while it waits.
func (b *unaryBudget) Take(_, most int64) (int64, error) {
	b.wanted += most
	if b.wanted <= freeBytes || b.held >= min(b.wanted, b.box.limit) {
		return most, nil
	}
	more := b.box.try(min(b.wanted, b.box.limit) - b.held)
	if more == 0 {
		return 0, errNoRoom
	}
	b.held += more
	return most, nil
}

// wait drops the held room and takes all the room that was wanted, so that the request can be evaluated again.
func (b *unaryBudget) wait(ctx context.Context) (err error) {
	wanted := b.wanted
	b.drop()
	b.held, err = b.box.take(ctx, wanted)
	return err
}

// trim releases the room that the response did not need after all: most of it if a range was ordered by value and then
// limited.
func (b *unaryBudget) trim(resp proto.Message) {
	if b.held == 0 {
		return
	}
	need := int64(proto.Size(resp))
	if need <= freeBytes {
		need = 0
	}
	if b.held > need {
		b.box.give(b.held - need)
		b.held = need
	}
}

// drop releases all room that is held.
func (b *unaryBudget) drop() {
	b.box.give(b.held)
	b.held, b.wanted = 0, 0
}

// evaluate calls read with a budget of the request's connection. If there is no room for the response, it discards all
// data that was read, waits for room, and calls read again.
func evaluate[T proto.Message](ctx context.Context, read func(*unaryBudget) (T, error)) (T, error) {
	mail := mailboxOf(ctx)
	if mail == nil {
		resp, err := read(nil)
		return resp, toStatus(err)
	}
	b := &unaryBudget{box: mail.unary}
	for {
		resp, err := read(b)
		switch {
		case err == nil:
			b.trim(resp)
			mail.keep(resp, b.held)
			return resp, nil
		case !errors.Is(err, errNoRoom):
			b.drop()
			return resp, toStatus(err)
		}
		if err := b.wait(ctx); err != nil {
			return resp, toStatus(err)
		}
	}
}

// keep records the room held for a response until [mailbox.claim].
func (m *mailbox) keep(resp any, held int64) {
	if held > 0 {
		m.kept.Store(resp, held)
	}
}

// claim returns the room that keep recorded for a response.
func (m *mailbox) claim(resp any) int64 {
	if held, ok := m.kept.LoadAndDelete(resp); ok {
		return held.(int64)
	}
	return 0
}

// interceptUnaryAnswer makes a large response hold room until it has been sent. If its handler took no room, it waits
// for room here.
func interceptUnaryAnswer(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		return nil, err
	}
	m, ok := resp.(proto.Message)
	if !ok {
		return resp, nil
	}
	size := proto.Size(m)
	if size <= freeBytes {
		return resp, nil
	}
	mail := mailboxOf(ctx)
	if mail == nil {
		return resp, nil
	}
	held := mail.claim(resp)
	if held == 0 {
		if held, err = mail.unary.take(ctx, int64(size)); err != nil {
			return nil, toStatus(err)
		}
	}
	return newHeldAnswer(m, size, mail.unary, held), nil
}

// interceptStreamAnswers makes the large messages of a stream hold room until they have been sent.
func interceptStreamAnswers(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if mail := mailboxOf(ss.Context()); mail != nil {
		ss = boundedStream{ss, mail.stream}
	}
	return handler(srv, ss)
}

type boundedStream struct {
	grpc.ServerStream
	box *outbox
}

func (s boundedStream) SendMsg(v any) error {
	switch v.(type) {
	case *heldAnswer, *pb.WatchResponse, *pb.RangeStreamResponse: // these have their own budgets
		return s.ServerStream.SendMsg(v)
	}
	m, ok := v.(proto.Message)
	if !ok {
		return s.ServerStream.SendMsg(v)
	}
	size := proto.Size(m)
	if size <= freeBytes {
		return s.ServerStream.SendMsg(v)
	}
	held, err := s.box.take(s.Context(), int64(size))
	if err != nil {
		return toStatus(err)
	}
	return send(s.ServerStream, m, size, s.box, held)
}

// send sends a message that holds room.
func send(ss grpc.ServerStream, m proto.Message, size int, box *outbox, held int64) error {
	h := newHeldAnswer(m, size, box, held)
	err := ss.SendMsg(h)
	if err != nil {
		h.free() // it may not have been encoded
	}
	return err
}

// streamBudget is the room for the messages of one stream, which are split if there is too little. It implements
// [logstructured.Budget].
type streamBudget struct {
	ctx  context.Context //nolint:containedctx // a budget belongs to one stream
	box  *outbox
	held int64
	// whole messages are not split, but wait for room.
	whole bool
}

// newStreamBudget returns nil if [Options.GRPCServer] serves the stream.
func newStreamBudget(ctx context.Context) *streamBudget {
	mail := mailboxOf(ctx)
	if mail == nil {
		return nil
	}
	return &streamBudget{ctx: ctx, box: mail.stream}
}

// Take implements [logstructured.Budget]. It first drops the room of a message that was not sent.
func (b *streamBudget) Take(least, most int64) (_ int64, err error) {
	b.drop()
	if most <= freeBytes {
		return most, nil
	}
	if b.whole {
		least = most
	}
	if b.held = b.box.try(most); b.held > 0 {
		return most, nil
	}
	if least <= freeBytes {
		return freeBytes, nil
	}
	b.held, err = b.box.take(b.ctx, least)
	return least, err
}

// drop releases the room that was taken for a message that is not sent.
func (b *streamBudget) drop() {
	b.box.give(b.held)
	b.held = 0
}

// send sends the message for which room was taken.
func (b *streamBudget) send(ss grpc.ServerStream, m proto.Message) error {
	if b == nil || b.held == 0 {
		return ss.SendMsg(m)
	}
	held := b.held
	b.held = 0
	return send(ss, m, proto.Size(m), b.box, held)
}
