package replicas

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// writers is the number of clients, in total or per replica.
const writers = 64

// TestFairness writes on one, two and three replicas with the same number of clients on each. Each replica must get its
// share of the commits, and all together must commit as much as one alone. There are 64 clients in total, or 64 per
// replica. The former compares the same load in smaller appends: each of n replicas appends the requests of 64/n
// clients in turn, while a single replica collects half of all requests during the previous append, and an append costs
// almost the same regardless of its size. The latter compares more replicas with more clients.
func TestFairness(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		warm, measured := 300*time.Millisecond, time.Second
		if measuring() {
			warm, measured = 2*time.Second, 8*time.Second
		}
		endpoint := database.Shared(t, kind).DSN(t)
		// Each measurement is a subtest, so that its replicas have ended before the next one.
		measure := func(name string, n, clients int) (each []float64, total float64) {
			t.Run(name, func(t *testing.T) {
				each, total = share(t, start(t, n, stele.Options{Endpoint: endpoint, Plain: true}), clients,
					warm, measured)
			})
			return each, total
		}
		_, alone := measure("1 replica", 1, writers)
		run := func(name string, n, clients int, least float64) {
			// Other tests on the machine can distort one of the two measurements, so only a repeated failure counts.
			for again := 2; ; again-- {
				each, total := measure(name, n, clients)
				err := fair(each, total, least*alone)
				switch {
				case err == nil:
					return
				case measuring() || again == 0 || t.Failed():
					t.Errorf("%s: %v", name, err)
					return
				}
				t.Logf("%s: %v: repeating, after one replica alone", name, err)
				_, alone = measure("1 replica", 1, writers)
			}
		}
		least := 0.3
		if measuring() {
			least = 0.5 // three replicas can reach at most two thirds, see above
		}
		for n := 2; n <= 3; n++ {
			run(fmt.Sprintf("%d replicas", n), n, writers, least)
		}
		if measuring() {
			for n := 2; n <= 3; n++ {
				run(fmt.Sprintf("%d replicas with more clients", n), n, n*writers, 0.9)
			}
		}
	})
}

// fair returns an error if a replica commits less than half of an equal share, or all together less than least per
// second.
func fair(each []float64, total, least float64) error {
	for i, s := range each {
		if share := total / float64(2*len(each)); s < share {
			return fmt.Errorf("replica %d has %.0f commits/s of %.0f, want at least %.0f", i+1, s, total, share)
		}
	}
	if total < least {
		return fmt.Errorf("%d replicas commit %.0f writes/s, want at least %.0f", len(each), total, least)
	}
	return nil
}

// share returns the commits per second of each replica and of all.
func share(t *testing.T, list replicas, clients int, warm, measured time.Duration) (each []float64, total float64) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	commits := make([]atomic.Int64, len(list))
	latencies := make([][]time.Duration, clients)
	var measuringNow atomic.Bool
	var wg sync.WaitGroup
	value := []byte(strings.Repeat("v", 1024))
	for w := range clients {
		i := w % len(list)
		kv := list[i].kv()
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				begin := time.Now()
				_, err := kv.Put(ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "writer/%02d/%03d", w, n%500), Value: value})
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("put on %s: %v", list[i].name, err)
					}
					return
				}
				commits[i].Add(1)
				if measuringNow.Load() {
					latencies[w] = append(latencies[w], time.Since(begin))
				}
			}
		})
	}
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(warm)
	before := make([]sample, len(list))
	for i, r := range list {
		before[i] = r.sample(t, commits[i].Load())
	}
	measuringNow.Store(true)
	begin := time.Now()
	wait(measured)
	took := time.Since(begin).Seconds()
	measuringNow.Store(false)
	after := make([]sample, len(list))
	for i := range list {
		after[i].commits = commits[i].Load()
	}
	for i, r := range list {
		after[i] = r.sample(t, after[i].commits)
	}
	cancel()
	wg.Wait()
	var all []time.Duration
	for _, l := range latencies {
		all = append(all, l...)
	}
	each = make([]float64, len(list))
	for i := range list {
		each[i] = float64(after[i].commits-before[i].commits) / took
		total += each[i]
	}
	for i, s := range each {
		appends, conflicts := after[i].appends-before[i].appends, after[i].conflicts-before[i].conflicts
		t.Logf("replica %d of %d: %5.0f commits/s (%2.0f %%), %4.0f appends/s, %4.0f conflicts/s (%.0f %%), CPU %v",
			i+1, len(list), s, 100*s/total, (appends-conflicts)/took, conflicts/took, 100*conflicts/max(appends, 1),
			after[i].cpu-before[i].cpu)
	}
	if len(all) > 0 {
		t.Logf("%d replicas, %d clients: %.0f commits/s in %.1f s, p50 %v, p99 %v", len(list), clients, total, took,
			percentile(all, 50), percentile(all, 99))
	}
	return each, total
}

type sample struct {
	commits            int64
	appends, conflicts float64
	cpu                time.Duration
}

func (r *replica) sample(t *testing.T, commits int64) sample {
	t.Helper()
	return sample{
		commits:   commits,
		appends:   r.metric(t, "stele_append_duration_seconds_count"),
		conflicts: r.metric(t, "stele_append_conflicts_total"),
		cpu:       r.cpu(t),
	}
}

// TestOneClient writes through all replicas in turn, as clients do that balance their requests over all endpoints. No
// replica may wait for a turn of others that have nothing to write.
func TestOneClient(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		list := start(t, 3, stele.Options{Endpoint: database.Shared(t, kind).DSN(t), Plain: true})
		const together = 20
		rounds, slack := 5, 20*time.Millisecond // other tests use the processor and the disk
		if measuring() {
			rounds, slack = 25, 2*time.Millisecond
		}
		ctx := bounded(t)
		write := func(to *replica) time.Duration {
			begin := time.Now()
			if _, err := to.kv().Put(ctx, &pb.PutRequest{Key: []byte("one-client"), Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
			return time.Since(begin)
		}
		var one, three []time.Duration
		for range rounds {
			for range together {
				one = append(one, write(list[0]))
			}
			for range together {
				three = append(three, write(list[rand.IntN(len(list))]))
			}
		}
		onOne, onThree := percentile(one, 50), percentile(three, 50)
		t.Logf("a write takes %v on one replica and %v on three", onOne, onThree)
		// The replica must first learn of the others' writes.
		if bound := 3*onOne + slack; onThree > bound {
			t.Errorf("a write on three replicas takes %v, want at most %v", onThree, bound)
		}
	})
}
