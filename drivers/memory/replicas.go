package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Register implements [log.Registry].
func (l *Log) Register(ctx context.Context, self log.Replica) (replicas []log.Replica, err error) {
	err = l.locked(ctx, "register", func(db *Database) error {
		if db.replicas == nil {
			db.replicas = map[uint64]log.Replica{}
		}
		now := db.now()
		self.ClientURLs, self.Since, self.Seen = slices.Clone(self.ClientURLs), now, now
		if before, ok := db.replicas[self.ID]; ok {
			self.Since = before.Since
		}
		db.replicas[self.ID] = self
		replicas = slices.Collect(maps.Values(db.replicas))
		slices.SortFunc(replicas, log.Replica.Compare)
		return nil
	})
	return replicas, err
}

// Unregister implements [log.Registry].
func (l *Log) Unregister(ctx context.Context, id uint64, seen log.Timestamp) error {
	return l.locked(ctx, "unregister", func(db *Database) error {
		if seen == 0 || db.replicas[id].Seen == seen {
			delete(db.replicas, id)
		}
		return nil
	})
}

// Listen implements [log.Notifier].
func (l *Log) Listen(ctx context.Context, wake func()) error {
	ctx, done, err := l.calls.Begin(ctx)
	if err != nil {
		return fmt.Errorf("memory: listen: %w", err)
	}
	defer done()
	appended := make(chan struct{}, 1)
	l.db.subscribe(appended, l)
	defer l.db.unsubscribe(appended)
	for {
		wake()
		select {
		case <-appended:
		case <-ctx.Done():
			return lifetime.Ended(ctx)
		}
	}
}

func (db *Database) subscribe(appended chan struct{}, l *Log) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.listeners == nil {
		db.listeners = map[chan struct{}]*Log{}
	}
	db.listeners[appended] = l
}

func (db *Database) unsubscribe(appended chan struct{}) {
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.listeners, appended)
}

// notify wakes the listeners of all logs except the one that appended. The caller holds db.mu.
func (db *Database) notify(by *Log) {
	for appended, l := range db.listeners {
		if l == by {
			continue
		}
		select {
		case appended <- struct{}{}:
		default: // a wake-up is already pending
		}
	}
}
