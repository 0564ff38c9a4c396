package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

// TestSingleReplicaDoesNotNotify appends from a single replica, and then registers others: only then do appends notify.
func TestSingleReplicaDoesNotNotify(t *testing.T) {
	t.Parallel()
	dsn := database.Shared(t, database.Postgres).DSN(t)
	one, two, three := mustOpen(t, dsn), mustOpen(t, dsn), mustOpen(t, dsn)
	ctx := within(t, time.Minute)
	register := func(l *Log, id uint64) {
		t.Helper()
		if _, err := l.Register(ctx, log.Replica{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	listen := func(l *Log) chan struct{} {
		woken, ended := make(chan struct{}, 100), make(chan struct{})
		listening, stop := context.WithCancel(ctx)
		go func() {
			defer close(ended)
			_ = l.Listen(listening, func() { woken <- struct{}{} })
		}()
		t.Cleanup(func() {
			stop()
			<-ended
		})
		<-woken // it stands
		return woken
	}
	var head log.Head
	appendOne := func() {
		t.Helper()
		id := head.ID + 1
		if err := one.Append(ctx, head, id, onePut("key")); err != nil {
			t.Fatal(err)
		}
		head = log.Head{Position: head.Position + 1, ID: id}
	}
	const first, third = 1 << 63, 3 // the database takes the former for a negative number

	listen(one)
	register(one, first)
	if !one.alone() {
		t.Error("a replica that is registered alone does not know")
	}
	woken := listen(two)
	heard := two.heard.Load()
	appendOne()
	register(three, third)
	// Notifications arrive in the order of the commits.
	eventually(t, "the one that listens to have heard of the third", func() bool { return two.heard.Load() > heard })
	if len(woken) > 0 {
		t.Error("an append of a replica that is alone has notified")
	}
	eventually(t, "the first to know that it is not alone", func() bool { return !one.alone() })
	if three.alone() {
		t.Error("a replica that is not alone does not know")
	}
	appendOne()
	<-woken
	register(one, first)
	if one.alone() {
		t.Error("a replica takes itself to be alone beside another")
	}
	if err := three.Unregister(ctx, third, 0); err != nil {
		t.Fatal(err)
	}
	register(one, first)
	if !one.alone() {
		t.Error("a replica that is alone again does not know")
	}
}
