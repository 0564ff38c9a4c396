package replicas

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestWatchAcross writes on one replica and watches on the other. It measures the latency of events, and the cost of
// polling on an idle replica.
func TestWatchAcross(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		list := start(t, 2, stele.Options{Endpoint: database.Shared(t, kind).DSN(t), Plain: true})
		t.Run("latency", func(t *testing.T) { latency(t, kind, list[0], list[1]) })
		t.Run("idle", func(t *testing.T) { idle(t, list[1]) })
	})
}

// latency writes a hundred times a second and measures the time to the event.
func latency(t *testing.T, kind string, from, to *replica) {
	const pause = 10 * time.Millisecond
	writes := 200
	if measuring() {
		writes = 1000
	}
	ctx := bounded(t)
	events := to.client.Watch(ctx, "latency/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if r := <-events; !r.Created {
		t.Fatalf("the first answer is %v", r)
	}
	seen := make(chan []time.Time, 1)
	go func() {
		var at []time.Time
		for r := range events {
			now := time.Now()
			for range r.Events {
				at = append(at, now)
			}
			if len(at) >= writes {
				break
			}
		}
		seen <- at
	}()
	var sent, acknowledged []time.Time
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range writes {
		<-tick.C
		sent = append(sent, time.Now())
		if _, err := from.client.Put(ctx, fmt.Sprintf("latency/%d", i), "v"); err != nil {
			t.Fatal(err)
		}
		acknowledged = append(acknowledged, time.Now())
	}
	at := <-seen
	if len(at) != writes {
		t.Fatalf("%d events of %d", len(at), writes)
	}
	var whole, after []time.Duration
	for i := range at {
		whole = append(whole, at[i].Sub(sent[i]))
		after = append(after, max(0, at[i].Sub(acknowledged[i])))
	}
	p99 := percentile(after, 99)
	t.Logf("from the request to the event: p50 %v, p99 %v; from its acknowledgement: p50 %v, p99 %v",
		percentile(whole, 50), percentile(whole, 99), percentile(after, 50), p99)
	// Other tests may use the processor for longer than that.
	bound := time.Second
	if measuring() {
		bound = 30 * time.Millisecond
		if kind == database.Postgres {
			bound = 10 * time.Millisecond
		}
	}
	if p99 > bound {
		t.Errorf("p99 is %v, want at most %v", p99, bound)
	}
}

// idle measures the processor time of a replica that has watchers and nothing to do.
func idle(t *testing.T, r *replica) {
	watched, bound := 3*time.Second, 0.15
	if measuring() {
		watched, bound = 10*time.Second, 0.03
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	for i := range 50 {
		events := r.client.Watch(ctx, fmt.Sprintf("idle/%d", i), clientv3.WithCreatedNotify())
		if r := <-events; !r.Created {
			t.Fatalf("the first answer is %v", r)
		}
	}
	before, begin := r.cpu(t), time.Now()
	select {
	case <-time.After(watched):
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	share := float64(r.cpu(t)-before) / float64(time.Since(begin))
	t.Logf("an idle replica with 50 watchers takes %.1f %% of a core", 100*share)
	if share > bound {
		t.Errorf("want at most %.0f %%", 100*bound)
	}
}
