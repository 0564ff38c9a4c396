package logstructured_test

import (
	"context"
	"sync"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
)

// TestReplicaProgressIsCurrent requests progress on one store after a write through another one. The answer to an
// earlier query of the head, from before the write, must not answer the new request.
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
		answered, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		log.fail(faults{afterEnd: func() { once.Do(func() { close(answered); <-release }) }})
		ws.RequestProgress()
		<-answered
		rev := other.mustPut(t, "key", "value")
		ws.RequestProgress()
		close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		for {
			r, err := ws.Next(ctx)
			if err != nil {
				t.Fatalf("no progress up to revision %d, which another replica acknowledged before the request: %v",
					rev, err)
			}
			if r.Revision >= rev {
				break
			}
		}
		cancel()
	}
}
