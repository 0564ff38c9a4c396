package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// set returns the objects that a read workload reads.
func (s *slot) set(large bool) objectSet {
	if large {
		return s.large
	}
	return s.objects
}

// largeSuffix returns the suffix of the names of workloads on the large set.
func largeSuffix(large bool) string {
	if large {
		return "-large"
	}
	return ""
}

func ofLarge(large bool) string {
	if large {
		return " (large set)"
	}
	return ""
}

// getWorkload reads single keys with linearizable reads.
func getWorkload(clients int) workload {
	return workload{
		name:  fmt.Sprintf("get-%d", clients),
		title: fmt.Sprintf("Linearizable get of one key, %d clients", clients), unit: "get",
		run: func(ctx context.Context, s *slot) (sample, error) {
			return s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				req, buf := &pb.RangeRequest{}, &rawMessage{}
				return func(ctx context.Context) error {
					req.Key = append(req.Key[:0], s.objects.keys[rand.IntN(len(s.objects.keys))]...)
					a, err := s.client.rangeRaw(ctx, n, req, buf)
					if err != nil {
						return err
					}
					if a.kvs != 1 || a.count != 1 || string(a.firstKey) != string(req.Key) || a.values != valueSize {
						return fmt.Errorf("a get answered %d keys, count %d, %d bytes of value", a.kvs,
							a.count, a.values)
					}
					return nil
				}
			})
		},
	}
}

// listWorkload reads pages of objects with their values, starting at random keys, as kube-apiserver does when it
// continues a list.
func listWorkload(name string, page, clients int, large bool) workload {
	return workload{
		name: name + largeSuffix(large), title: fmt.Sprintf("List of %d objects with values, %d clients%s", page,
			clients, ofLarge(large)), unit: "list", large: large,
		run: func(ctx context.Context, s *slot) (sample, error) {
			return s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				return s.listPages(n, page, s.set(large))
			})
		},
	}
}

// listPages returns the requests of the n-th client: pages that start at random keys of set.
func (s *slot) listPages(n, page int, set objectSet) func(context.Context) error {
	req, buf := &pb.RangeRequest{RangeEnd: prefixEnd(set.prefix), Limit: int64(page)}, &rawMessage{}
	return func(ctx context.Context) error {
		// At least one object follows the page, so that the server has to count for each answer.
		first := rand.IntN(len(set.keys) - page)
		req.Key = append(req.Key[:0], set.keys[first]...)
		a, err := s.client.rangeRaw(ctx, n, req, buf)
		if err != nil {
			return err
		}
		if a.kvs != page || !a.more || a.count != int64(len(set.keys)-first) ||
			string(a.firstKey) != set.keys[first] || a.values != page*valueSize {
			return fmt.Errorf("a list answered %d keys, count %d of %d, more %t, %d bytes of values",
				a.kvs, a.count, len(set.keys)-first, a.more, a.values)
		}
		return nil
	}
}

// countWorkload counts all objects of the set.
func countWorkload(name string, clients int, large bool) workload {
	return workload{
		name: name + largeSuffix(large), title: fmt.Sprintf("Count under a prefix, %d clients%s", clients,
			ofLarge(large)), unit: "count", large: large,
		run: func(ctx context.Context, s *slot) (sample, error) {
			set := s.set(large)
			return s.closedLoop(ctx, clients, func(n int) func(context.Context) error {
				req, buf := &pb.RangeRequest{Key: []byte(set.prefix), RangeEnd: prefixEnd(set.prefix), CountOnly: true},
					&rawMessage{}
				return func(ctx context.Context) error {
					a, err := s.client.rangeRaw(ctx, n, req, buf)
					if err == nil && a.count != int64(len(set.keys)) {
						err = fmt.Errorf("counted %d of %d objects", a.count, len(set.keys))
					}
					return err
				}
			})
		},
	}
}
