package logstructured_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
)

// TestReplicaWatchCreationIsCurrent creates watchers on a store that does not follow by itself, right after another
// store acknowledged a write or a compaction.
func TestReplicaWatchCreationIsCurrent(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 2, ls.Options{PollInterval: patience})
	writer, other := replicas[0], replicas[1]
	for range 5 {
		old := writer.mustPut(t, "key", "value")
		acknowledged := writer.mustPut(t, "key", "value")
		stream := other.NewWatchStream()
		stream.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
		if r := nextResponse(t, stream); !r.Created || r.Canceled || r.Revision < acknowledged {
			t.Fatalf("%+v, after revision %d had been acknowledged elsewhere", r, acknowledged)
		}
		stream.Close()
		if _, err := writer.Compact(testContext(t), ls.Unguarded, acknowledged, false); err != nil {
			t.Fatal(err)
		}
		stream = other.NewWatchStream()
		stream.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, StartRevision: old})
		if r := nextResponse(t, stream); !r.Created || r.Canceled {
			t.Fatalf("%+v", r)
		}
		if r := nextResponse(t, stream); !r.Canceled || r.CompactRevision != acknowledged {
			t.Errorf("%+v, want it canceled: revision %d had been compacted elsewhere", r, acknowledged)
		}
		stream.Close()
	}
}

// TestWatchCreationWaitsForTheDatabase creates watchers while the database does not return its head. Other watchers of
// the stream get their events. The calls are carried out in order once the database answers.
func TestWatchCreationWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	log := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, log, ls.Options{})
	ws := watchEverything(t, store, 0)
	log.fail(faults{end: func(context.Context) error { return errDatabase }})
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, ID: 7})
	ws.Cancel(7)
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, ID: 7, StartRevision: 2})
	ws.RequestProgress()
	rev := store.mustPut(t, "key", "value")
	if r := nextResponse(t, ws); len(r.Events) != 1 || r.WatchID == 7 {
		t.Fatalf("%+v, want the event of the watcher that was there before", r)
	}
	log.heal()
	for i, right := range []func(r *ls.WatchResponse) bool{
		func(r *ls.WatchResponse) bool { return r.WatchID == 7 && r.Created && r.Revision == rev },
		func(r *ls.WatchResponse) bool { return r.WatchID == 7 && !r.Created && r.Canceled },
		func(r *ls.WatchResponse) bool { return r.WatchID == 7 && r.Created && !r.Canceled && r.Revision == rev },
		func(r *ls.WatchResponse) bool { return r.WatchID == 7 && len(r.Events) == 1 },
		func(r *ls.WatchResponse) bool { return r.WatchID == ls.InvalidWatchID && r.Revision == rev },
	} {
		if r := nextResponse(t, ws); !right(r) {
			t.Errorf("response %d: %+v", i, r)
		}
	}
}

// TestWatchCreationsShareAQuery creates many watchers while the database answers one query of the head.
func TestWatchCreationsShareAQuery(t *testing.T) {
	t.Parallel()
	log := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, log, ls.Options{})
	ws := store.NewWatchStream()
	defer ws.Close()
	answered, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	var queries atomic.Int64
	log.fail(faults{afterEnd: func() { queries.Add(1); first.Do(func() { close(answered); <-release }) }})
	const watchers = 500
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
	<-answered
	for range watchers - 1 {
		ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
	}
	close(release)
	for i := range watchers {
		if r := nextResponse(t, ws); !r.Created || r.WatchID != ls.WatchID(i) {
			t.Fatalf("response %d: %+v", i, r)
		}
	}
	if n := queries.Load(); n > 3 {
		t.Errorf("%d queries for %d watchers", n, watchers)
	}
}

// TestWatchCreationOverARestore creates a watcher on a replica that knows the head of the log but cannot read up to it,
// before the database loses that head.
func TestWatchCreationOverARestore(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	opts := ls.Options{PollInterval: time.Millisecond, RequestTimeout: 200 * time.Millisecond}
	log := newFaultyLog(db.Open())
	store, other := startStore(t, log, opts), startStore(t, db.Open(), opts)
	store.mustPut(t, "key", "kept")
	saved := db.Content()
	known := make(chan struct{})
	var once sync.Once
	log.fail(faults{
		read:     func(context.Context) error { return errDatabase },
		afterEnd: func() { once.Do(func() { close(known) }) },
	})
	for range 10 {
		other.mustPut(t, "key", "lost")
	}
	ws := store.NewWatchStream()
	defer ws.Close()
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
	<-known
	other.stop(t)
	db.SetContent(saved)
	store.mustPut(t, "key", "new") // a state without the head that End returned
	log.heal()
	if r := nextResponse(t, ws); !r.Created || r.Canceled {
		t.Errorf("%+v", r)
	}
}
