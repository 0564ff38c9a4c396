package replicas

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestLargeBesideMany writes small values continuously on one replica, and on another large values of one client and
// small values of a few. A large append takes longer to reach the database than the other replica's small ones, and
// must not starve.
func TestLargeBesideMany(t *testing.T) {
	onEach(t, func(t *testing.T, kind string) {
		lasts, most := time.Second, 5*time.Second
		if measuring() {
			lasts, most = 10*time.Second, time.Second
		}
		list := start(t, 2, stele.Options{Endpoint: database.Shared(t, kind).DSN(t), Plain: true})
		ctx, end := bounded(t), time.Now().Add(lasts)
		var wg sync.WaitGroup
		// write starts a client and returns the durations of its writes, which are complete once wg is done.
		write := func(to *replica, client string, size int) *[]time.Duration {
			took := new([]time.Duration)
			kv, value := to.kv(), []byte(strings.Repeat("v", size))
			wg.Go(func() {
				for n := 0; time.Now().Before(end); n++ {
					begin := time.Now()
					if _, err := kv.Put(ctx,
						&pb.PutRequest{Key: fmt.Appendf(nil, "%s/%03d", client, n%50), Value: value}); err != nil {
						t.Errorf("put of %d bytes on %s: %v", size, to.name, err)
						return
					}
					*took = append(*took, time.Since(begin))
				}
			})
			return took
		}
		for n := range writers {
			write(list[0], fmt.Sprint("many/", n), 1024)
		}
		large := write(list[1], "large", 1400<<10)
		var small [4]*[]time.Duration
		for n := range small {
			small[n] = write(list[1], fmt.Sprint("small/", n), 1024)
		}
		if wg.Wait(); t.Failed() {
			return
		}
		for name, took := range map[string][]time.Duration{
			"large": *large,
			"small": slices.Concat(*small[0], *small[1], *small[2], *small[3]),
		} {
			t.Logf("%d %s writes took %v, 99 %% at most %v, the longest %v", len(took), name, percentile(took, 50),
				percentile(took, 99), percentile(took, 100))
			if longest := percentile(took, 100); longest > most {
				t.Errorf("a %s write took %v, want at most %v", name, longest, most)
			}
		}
		t.Logf("append conflicts: %.0f", list[1].metric(t, "stele_append_conflicts_total"))
	})
}
