package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
)

// watchLatencyWorkload writes at a given rate while watchers, each on a stream of its own, see every write.
// The latency is from sending the write to receiving its event. One operation is one event.
func watchLatencyWorkload(watchers int) workload {
	const writers = 64
	return workload{
		name: "watch-latency", title: fmt.Sprintf("Write to event, paced writes, %d watchers on as many streams",
			watchers), unit: "event", paced: true,
		run: func(ctx context.Context, s *slot) (sample, error) {
			writes := newWatchWrites(s)
			var measured span
			latencies := make([][]time.Duration, watchers)
			onEvent := func(stream int, number uint64, now time.Time) {
				if sent, _ := writes.arrived(number); measured.holds(sent) {
					latencies[stream] = append(latencies[stream], now.Sub(sent))
				}
			}
			err := s.watched(ctx, writes, watchers, 1, onEvent, func(ctx context.Context) error {
				measured = s.span()
				return s.paced(ctx, writers, measured.until, func(kv pb.KVClient, req *pb.PutRequest) error {
					_, err := writes.put(ctx, kv, req, watchers)
					return err
				})
			})
			if err != nil {
				return sample{}, err
			}
			got := writes.sample(merge(latencies), watchers)
			got.ops = int64(len(got.latencies))
			if rate := float64(got.ops) / float64(watchers) / s.duration.Seconds(); rate < 0.95*float64(s.watchRate) {
				got.note = fmt.Sprintf("managed %.0f of %d writes/s", rate, s.watchRate)
			}
			return got, nil
		},
	}
}

// paced calls write s.watchRate times a second until the given time, from so many writers that the rate only drops if
// the server falls behind.
func (s *slot) paced(ctx context.Context, writers int, until time.Time,
	write func(pb.KVClient, *pb.PutRequest) error) error {
	due := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	for n := range writers {
		g.Go(func() error {
			kv, req := s.client.kv(n), &pb.PutRequest{Value: newValue()}
			for range due {
				if err := write(kv, req); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(due)
		interval := time.Second / time.Duration(s.watchRate)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for next := time.Now(); next.Before(until) && time.Now().Before(until); next = next.Add(interval) {
			timer.Reset(time.Until(next))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
			select {
			case due <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
		return nil
	})
	return g.Wait()
}

// watchFanOutWorkload writes as fast as all watchers receive: at most window writes are in flight to any watcher. The
// latency is from sending a write to its last event. One operation is one event.
func watchFanOutWorkload(name string, streams, perStream, window int) workload {
	const writers = 4
	watchers := streams * perStream
	return workload{
		name: name, title: fmt.Sprintf("Events to %d watchers on %d streams, at most %d writes under way", watchers,
			streams, window), unit: "event",
		run: func(ctx context.Context, s *slot) (sample, error) {
			writes := newWatchWrites(s)
			var measured span
			var counted atomic.Int64
			latencies := make([][]time.Duration, streams)
			room := make(chan struct{}, window)
			onEvent := func(stream int, number uint64, now time.Time) {
				sent, last := writes.arrived(number)
				in := measured.holds(now)
				if in {
					counted.Add(1)
				}
				if last {
					<-room
					if in {
						latencies[stream] = append(latencies[stream], now.Sub(sent))
					}
				}
			}
			err := s.watched(ctx, writes, streams, perStream, onEvent, func(ctx context.Context) error {
				measured = s.span()
				g, ctx := errgroup.WithContext(ctx)
				// A missing event must not block the writers for longer than that.
				writing, cancel := context.WithDeadline(ctx, measured.until)
				defer cancel()
				for n := range writers {
					g.Go(func() error {
						kv, req := s.client.kv(n), &pb.PutRequest{Value: newValue()}
						for {
							select {
							case <-writing.Done():
								return ctx.Err()
							case room <- struct{}{}:
							}
							if writing.Err() != nil {
								return ctx.Err() // both were ready
							}
							if more, err := writes.put(ctx, kv, req, watchers); err != nil || !more {
								return err
							}
						}
					})
				}
				return g.Wait()
			})
			if err != nil {
				return sample{}, err
			}
			got := writes.sample(merge(latencies), watchers)
			got.ops = counted.Load()
			return got, nil
		},
	}
}

func (w *watchWrites) sample(latencies []time.Duration, watchers int) sample {
	done := w.done.Load()
	return sample{latencies: latencies, total: done * int64(watchers), writes: done, live: done}
}
