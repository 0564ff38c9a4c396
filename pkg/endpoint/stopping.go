package endpoint

import (
	"context"
	"sync"
)

// serving holds the datastores that this process has started with Listen. It is global because calls of Listen are
// independent: the second one may come after the end of the first one's context, before the first has released its
// address.
var serving struct {
	sync.Mutex
	all map[*instance]struct{}
}

type instance struct {
	// ending is closed when the datastore must stop, gone when it has stopped.
	ending <-chan struct{}
	gone   chan struct{}
}

// begin registers a datastore that stops after ctx. The caller calls end when it has stopped.
func begin(ctx context.Context) (end func()) {
	i := &instance{ending: ctx.Done(), gone: make(chan struct{})}
	serving.Lock()
	defer serving.Unlock()
	if serving.all == nil {
		serving.all = map[*instance]struct{}{}
	}
	serving.all[i] = struct{}{}
	return func() {
		serving.Lock()
		defer serving.Unlock()
		delete(serving.all, i)
		close(i.gone)
	}
}

// awaitStopping waits until the datastores that are stopping have stopped, or ctx ends. It reports whether there was
// one.
func awaitStopping(ctx context.Context) bool {
	var stopping []*instance
	serving.Lock()
	for i := range serving.all {
		select {
		case <-i.ending:
			stopping = append(stopping, i)
		default:
		}
	}
	serving.Unlock()
	for _, i := range stopping {
		select {
		case <-i.gone:
		case <-ctx.Done():
			return true
		}
	}
	return len(stopping) > 0
}
