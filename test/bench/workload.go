package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"
)

// workload is a kind of load to measure.
type workload struct {
	name, title string
	// unit is the unit of an operation.
	unit string
	// large is true if the workload needs the large set of objects.
	large bool
	// updated is true if the workload needs the large set after every object was updated. It comes last, because the
	// servers are different then.
	updated bool
	// paced is true if the rate is fixed, so that servers differ only in latency.
	paced bool
	// crowd is set for workloads that need very many watchers, and servers that take transactions of many puts.
	crowd bool
	run   func(context.Context, *slot) (sample, error)
}

// slot is one workload on one target in one round.
type slot struct {
	settings
	client *client
	// prefix is new for each slot; the slot writes below it.
	prefix string
	// gaps is the contender's gaps.
	gaps    bool
	objects objectSet
	large   objectSet
}

// sample is the raw result of a slot.
type sample struct {
	// ops is the number of operations completed in the measured duration; latencies has their latencies, sorted.
	ops       int64
	latencies []time.Duration
	// total includes the operations of the warmup, and those that ended late; byClient is the part of each client, if
	// clients were counted.
	total    int64
	byClient []int64
	// writes is the number of acknowledged writes, by which the revision must have grown. live is the number of keys
	// under the slot's prefix.
	writes, live int64
	// attempts is the number of attempts for all of total; 0 if an operation is one request.
	attempts int64
	// watch has the times from sending a write to receiving its event, sorted, unless latencies has them.
	watch []time.Duration
	// note is a remark for the reader of the row.
	note string
}

// span is the measured part of a slot.
type span struct{ from, until time.Time }

func (s *slot) span() span {
	from := time.Now().Add(s.warmup)
	return span{from, from.Add(s.duration)}
}

func (s span) holds(t time.Time) bool { return !t.Before(s.from) && t.Before(s.until) }

// closedLoop runs clients, each of which sends its next operation after the answer to the last one.
func (s *slot) closedLoop(ctx context.Context, clients int,
	newClient func(n int) func(context.Context) error) (sample, error) {
	g, ctx := errgroup.WithContext(ctx)
	measured := s.span()
	latencies := make([][]time.Duration, clients)
	totals := make([]int64, clients)
	for n := range clients {
		operate := newClient(n)
		g.Go(func() error {
			var mine []time.Duration
			var total int64
			for began := time.Now(); began.Before(measured.until); {
				if err := operate(ctx); err != nil {
					return err
				}
				ended := time.Now()
				total++
				if measured.holds(ended) {
					mine = append(mine, ended.Sub(began))
				}
				began = ended
			}
			latencies[n], totals[n] = mine, total
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	out := sample{latencies: merge(latencies), byClient: totals}
	out.ops = int64(len(out.latencies))
	for _, t := range totals {
		out.total += t
	}
	return out, nil
}

// check compares the state of the server with the acknowledged writes; before is its revision at the beginning of the
// slot. Of replicas, the first answers the revision and the last the keys.
func (s *slot) check(ctx context.Context, before int64, got sample) error {
	after, err := revision(ctx, s.client.kv(0))
	if err != nil {
		return err
	}
	if moved := after - before; moved < got.writes || moved > got.writes && !s.gaps {
		return fmt.Errorf("%d writes were acknowledged but the revision moved by %d", got.writes, after-before)
	}
	if got.writes == 0 {
		return nil
	}
	live, err := s.client.count(ctx, s.prefix)
	if err != nil {
		return err
	}
	if live != got.live {
		return fmt.Errorf("%d keys must be there, the server counts %d", got.live, live)
	}
	return nil
}

var workloads = []workload{
	getWorkload(64),
	listWorkload("list-500", listPage, 8, false),
	countWorkload("count", 8, false),
	listWorkload("list-500", listPage, 8, true),
	listWorkload("list-10000", 10_000, 2, true),
	countWorkload("count", 8, true),
	watchLatencyWorkload(50),
	watchFanOutWorkload("watch-fanout", 10, 100, 32),
	watchFanOutWorkload("watch-fanout-1000-streams", 1000, 1, 32),
	watchFanOutWorkload("watch-fanout-10000", 10, 1000, 4),
	mixWorkload(64, 20),
	txnWorkload(64),
	txnWorkload(256),
	contendWorkload(8),
	contendWorkload(16),
	contendWorkload(32),
	putWorkload(1),
	putWorkload(64),
	putWorkload(256),
	watchedPutWorkload(1, false),
	watchedPutWorkload(1, true),
	watchedPutWorkload(64, false),
	watchedPutWorkload(64, true),
	deleteWorkload(false),
	deleteWorkload(true),
	updated(listWorkload("list-500", listPage, 8, true)),
	updated(listWorkload("list-10000", 10_000, 2, true)),
}

// sweepClients are the numbers of clients of a sweep.
var sweepClients = []int{1, 4, 16, 64, 256}

var ofSweep = regexp.MustCompile(`^(get|txn|put)-(\d+)$`)

// sweep returns all workloads, but each that ofSweep selects with every number of clients, in place of the first of its
// kind.
func sweep(all []workload) []workload {
	kinds := map[string]func(int) workload{"get": getWorkload, "txn": txnWorkload, "put": putWorkload}
	var out []workload
	for _, w := range all {
		m := ofSweep.FindStringSubmatch(w.name)
		if len(m) == 0 {
			out = append(out, w)
			continue
		}
		if of := kinds[m[1]]; of != nil {
			for _, clients := range sweepClients {
				out = append(out, of(clients))
			}
			delete(kinds, m[1])
		}
	}
	return out
}

// selectWorkloads returns the workloads whose names match, reads first: they then read the same objects on every
// server, regardless of the number of writes later.
func selectWorkloads(s settings, names *regexp.Regexp) []workload {
	from := workloads
	if s.sweep {
		from = sweep(workloads)
	}
	var selected []workload
	for _, w := range from {
		chosen := names.MatchString(w.name) || s.sweep && ofSweep.MatchString(w.name)
		if chosen && (!w.large || s.large > 0) && (!w.crowd || s.watchers > 0) {
			selected = append(selected, w)
		}
	}
	return selected
}
