package logstructured_test

import (
	"context"
	"sync"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
)

// TestReplicaProgressIsCurrent asks for progress on one store after a write through another one. While the answer to a
// former request is on its way from the database, which it left before the write, the new request must not be content
// with it.
func TestReplicaProgressIsCurrent(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	other := startStore(t, openSQLite(t, path), ls.Options{})
	log := newFaultyLog(openSQLite(t, path))
	store := startStore(t, log, ls.Options{PollInterval: patience})
	ws := store.NewWatchStream()
	defer ws.Close()
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: ls.KeyRange{Key: []byte("not this one")}})
	nextResponse(t, ws)

	for range 5 {
		asked, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		log.fail(faults{asked: func() { once.Do(func() { close(asked); <-release }) }})
		ws.RequestProgress()
		<-asked
		rev := other.mustPut(t, "key", "value")
		ws.RequestProgress()
		close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		for {
			r, err := ws.Next(ctx)
			if err != nil {
				t.Fatalf("no progress up to revision %d, which was acknowledged elsewhere before it was asked for: %v", rev, err)
			}
			if r.Revision >= rev {
				break
			}
		}
		cancel()
	}
}
