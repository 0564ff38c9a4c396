package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// watchStream is one stream whose watchers all watch the same prefix.
type watchStream struct {
	stream grpc.ClientStream
	buf    rawMessage
	// watchers finds the state of a watcher by its id.
	watchers map[int64]*watcherState
}

type watcherState struct {
	events   int64
	revision int64
}

// openWatch opens a stream on the n-th client's connection and returns once all its watchers are created. They request
// previous values, as kube-apiserver's do.
func openWatch(ctx context.Context, c *client, n int, prefix string, watchers int) (*watchStream, error) {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.conn(n).NewStream(ctx, desc, pb.Watch_Watch_FullMethodName)
	if err != nil {
		return nil, err
	}
	w := &watchStream{stream: stream, watchers: make(map[int64]*watcherState, watchers)}
	create := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte(prefix), RangeEnd: prefixEnd(prefix), PrevKv: true},
	}}
	for asked, answered := 0, 0; answered < watchers; answered++ {
		// The number of pending creations is so small that neither side fills the other's window.
		for ; asked < watchers && asked < answered+100; asked++ {
			if err := stream.SendMsg(create); err != nil {
				return nil, err
			}
		}
		if err := stream.RecvMsg(&w.buf); err != nil {
			return nil, err
		}
		a, err := scanWatch(w.buf.data, func(int64, watchEvent) error {
			return errors.New("an event before any write")
		})
		if err != nil {
			return nil, err
		}
		if !a.created || a.canceled {
			return nil, errors.New("a watcher was not created")
		}
		w.watchers[a.watchID] = &watcherState{}
	}
	if len(w.watchers) != watchers {
		return nil, fmt.Errorf("%d watchers have %d ids", watchers, len(w.watchers))
	}
	return w, nil
}

// unlessOver returns err, or nil once ctx has ended, because that is how a slot ends its streams.
func unlessOver(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// receive calls f for every event, with the time of its arrival, until ctx ends.
func (w *watchStream) receive(ctx context.Context, f func(number uint64, now time.Time)) error {
	for {
		if err := w.stream.RecvMsg(&w.buf); err != nil {
			return unlessOver(ctx, err)
		}
		now := time.Now()
		a, err := scanWatch(w.buf.data, func(id int64, e watchEvent) error {
			state, ok := w.watchers[id]
			if !ok {
				return fmt.Errorf("an event for watch id %d, which does not exist", id)
			}
			if e.deleted || e.modRevision <= state.revision || len(e.value) != valueSize {
				return fmt.Errorf("revision %d after %d, %d bytes of value, deletion %t", e.modRevision, state.revision,
					len(e.value), e.deleted)
			}
			state.revision = e.modRevision
			state.events++
			f(valueNumber(e.value), now)
			return nil
		})
		if err != nil {
			return err
		}
		if a.canceled {
			return errors.New("the server canceled a watcher")
		}
	}
}

// watchWrites makes the writes of one slot that watchers wait for. Write number n carries n in its value.
type watchWrites struct {
	slot *slot
	// sent has the time of write n, left the number of watchers that have not received it.
	sent []atomic.Int64
	left []atomic.Int64
	next atomic.Int64
	done atomic.Int64
	// missing is the number of events of acknowledged and pending writes that have not arrived.
	missing atomic.Int64
}

// maxWatchWrites bounds the writes of one slot.
const maxWatchWrites = 1 << 18

func newWatchWrites(s *slot) *watchWrites {
	return &watchWrites{slot: s, sent: make([]atomic.Int64, maxWatchWrites), left: make([]atomic.Int64, maxWatchWrites)}
}

// put makes the next write, which the given number of watchers will receive. It returns false if there is no number
// left.
func (w *watchWrites) put(ctx context.Context, kv pb.KVClient, req *pb.PutRequest, watchers int) (bool, error) {
	n := w.next.Add(1) - 1
	if n >= maxWatchWrites {
		return false, nil
	}
	req.Key = appendKey(req.Key[:0], w.slot.prefix, uint64(n))
	numberValue(req.Value, uint64(n))
	w.left[n].Store(int64(watchers))
	w.missing.Add(int64(watchers))
	w.sent[n].Store(time.Now().UnixNano())
	if _, err := kv.Put(ctx, req); err != nil {
		return false, err
	}
	w.done.Add(1)
	return true, nil
}

// arrived records an event. It returns when its write was sent and whether this was the last watcher to receive it.
func (w *watchWrites) arrived(n uint64) (sent time.Time, last bool) {
	w.missing.Add(-1)
	return time.Unix(0, w.sent[n].Load()), w.left[n].Add(-1) == 0
}

// wait returns when all events have arrived.
func (w *watchWrites) wait(ctx context.Context) error { return w.slot.arrival(ctx, w.missing.Load) }

// arrival returns when no event is missing.
func (s *slot) arrival(ctx context.Context, missing func() int64) error {
	deadline := time.After(s.arrive)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for missing() != 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%d events have not arrived %s after the last write", missing(), s.arrive)
		}
	}
	return nil
}

// watched runs write while streams receive, waits for all events, and checks that each watcher saw each write once.
// onEvent is called by the stream's own goroutine.
func (s *slot) watched(ctx context.Context, writes *watchWrites, streams, perStream int,
	onEvent func(stream int, number uint64, now time.Time), write func(ctx context.Context) error,
) error {
	g, ctx := errgroup.WithContext(ctx)
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	open := make([]*watchStream, streams)
	for n := range open {
		var err error
		if open[n], err = openWatch(receiving, s.client, n, s.prefix, perStream); err != nil {
			return err
		}
	}
	for n, w := range open {
		g.Go(func() error {
			return w.receive(receiving, func(number uint64, now time.Time) { onEvent(n, number, now) })
		})
	}
	g.Go(func() error {
		defer stop()
		if err := write(ctx); err != nil {
			return err
		}
		return writes.wait(ctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	for _, w := range open {
		for id, state := range w.watchers {
			if state.events != writes.done.Load() {
				return fmt.Errorf("watcher %d saw %d of %d writes", id, state.events, writes.done.Load())
			}
		}
	}
	return nil
}
