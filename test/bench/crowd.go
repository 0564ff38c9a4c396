package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// perCrowdStream is the number of watchers on each stream of a crowd.
const perCrowdStream = 5

// openCrowd creates s.watchers watchers on a fifth as many streams, each of a range of its own without writes. They
// last until ctx ends.
func (s *slot) openCrowd(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for n := range s.watchers / perCrowdStream {
		stream, err := s.client.conn(n).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
			pb.Watch_Watch_FullMethodName)
		if err != nil {
			return err
		}
		g.Go(func() error {
			for i := range perCrowdStream {
				prefix := fmt.Sprintf("/registry/crowd/%07d/", n*perCrowdStream+i)
				create := &pb.WatchCreateRequest{Key: []byte(prefix), RangeEnd: prefixEnd(prefix)}
				if err := stream.SendMsg(&pb.WatchRequest{
					RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create},
				}); err != nil {
					return err
				}
			}
			var buf rawMessage
			for range perCrowdStream {
				if err := stream.RecvMsg(&buf); err != nil {
					return err
				}
				a, err := scanWatch(buf.data, func(int64, watchEvent) error {
					return errors.New("an event that no watcher of the crowd may get")
				})
				if err != nil {
					return err
				}
				if !a.created || a.canceled {
					return errors.New("a watcher was not created")
				}
			}
			return gctx.Err()
		})
	}
	return g.Wait()
}

// watchedPutWorkload puts new keys, each of which one watcher receives, with or without a crowd.
func watchedPutWorkload(clients int, crowded bool) workload {
	put := putWorkload(clients)
	name, title := put.name+"-watched", put.title+", with one watcher"
	if crowded {
		name, title = put.name+"-crowd", title+" beside a crowd of others"
	}
	return workload{
		name: name, title: title, unit: put.unit, crowd: true,
		run: func(ctx context.Context, s *slot) (sample, error) {
			watching, stop := context.WithCancel(ctx)
			defer stop()
			if crowded {
				if err := s.openCrowd(watching); err != nil {
					return sample{}, err
				}
			}
			one, err := openWatch(watching, s.client, 0, s.prefix, 1)
			if err != nil {
				return sample{}, err
			}
			seen := make(chan struct{}, maxWatchWrites)
			received := make(chan error, 1)
			go func() { received <- one.receive(watching, func(uint64, time.Time) { seen <- struct{}{} }) }()
			got, err := put.run(ctx, s)
			if err != nil {
				return sample{}, err
			}
			if err := s.arrival(ctx, func() int64 { return got.writes - int64(len(seen)) }); err != nil {
				return sample{}, err
			}
			stop()
			return got, <-received
		},
	}
}

// deleteWorkload deletes as many keys as a crowd has watchers in one request, which is the only operation, with or
// without the crowd. The watchers watch other keys.
func deleteWorkload(crowded bool) workload {
	w := workload{name: "delete", title: "Deletion of as many keys as a crowd has watchers", unit: "request",
		crowd: true, paced: true}
	if crowded {
		w.name, w.title = w.name+"-crowd", w.title+", beside it"
	}
	w.run = func(ctx context.Context, s *slot) (sample, error) {
		watching, stop := context.WithCancel(ctx)
		defer stop()
		if crowded {
			if err := s.openCrowd(watching); err != nil {
				return sample{}, err
			}
		}
		if err := storeBatches(ctx, s.client, newObjectSet(s.prefix, s.watchers), 0); err != nil {
			return sample{}, err
		}
		began := time.Now()
		resp, err := s.client.kv(0).DeleteRange(ctx, &pb.DeleteRangeRequest{
			Key: []byte(s.prefix), RangeEnd: prefixEnd(s.prefix),
		})
		took := time.Since(began)
		if err == nil && resp.Deleted != int64(s.watchers) {
			err = fmt.Errorf("%d keys of %d were deleted", resp.Deleted, s.watchers)
		}
		batches := (s.watchers + batch - 1) / batch
		return sample{ops: 1, total: 1, latencies: []time.Duration{took}, writes: int64(batches) + 1}, err
	}
	return w
}
