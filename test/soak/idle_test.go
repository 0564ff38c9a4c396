//go:build soak

package soak

import (
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// idleLimit is the most memory that a server without keys may use.
const idleLimit = 40 * mib

func TestIdleMemory(t *testing.T) {
	s := stele.Start(t, stele.Options{})
	client := connect.Client(t, s.Target)
	if _, err := client.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	// The peak over a few seconds counts too.
	stop := watermark(func() int64 { return rss(t, s) })
	<-time.After(5 * time.Second)
	peak := stop()
	t.Logf("idle memory: %.1f MiB resident, peak %.1f MiB", float64(rss(t, s))/mib, float64(peak)/mib)
	if peak > idleLimit {
		t.Errorf("peak %d bytes, want at most %d", peak, idleLimit)
	}
}
